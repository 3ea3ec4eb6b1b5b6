//! What the figures are held against.

use dunlin_testkit::servers::Product;

use super::{CODE, Keys, Medians, SET, SPARSE};

/// Memory that we may have at most, in bytes.
const MEMORY_MAX: u64 = 100 << 20;

/// One way is to take at most so many times as long as another.
struct Aim {
    part: &'static str,
    way: &'static str,
    against: (&'static str, &'static str),
    times: f64,
}

const ONE_UPDATE: (&str, &str) = (SET, "one UPDATE");
const SERIAL_SCAN: (&str, &str) = (SPARSE, "one scan by one process");
const ONE_BY_ONE: (&str, &str) = (CODE, "Python, row by row (scaled)");
const BATCHES: (&str, &str) = (CODE, "Python, execute_values of 10,000");

const fn aim(
    part: &'static str,
    way: &'static str,
    against: (&'static str, &'static str),
    times: f64,
) -> Aim {
    Aim { part, way, against, times }
}

const AIMS: [Aim; 8] = [
    aim(SET, "dunlin, 1 worker", ONE_UPDATE, 1.05),
    aim(SET, "dunlin, 2 workers", ONE_UPDATE, 0.75),
    aim(SPARSE, "dunlin, 1 worker", SERIAL_SCAN, 2.0),
    aim(SPARSE, "dunlin, 1 worker, not the first", SERIAL_SCAN, 2.0),
    aim(CODE, "dunlin, row code, 1 worker", ONE_BY_ONE, 0.1),
    aim(CODE, "dunlin, row code, 1 worker", BATCHES, 1.0),
    aim(Keys::Uuid.name(), "dunlin, 1 worker", (Keys::Integer.name(), "dunlin, 1 worker"), 1.5),
    aim(
        Keys::ThreeTexts.name(),
        "dunlin, 1 worker",
        (Keys::Integer.name(), "dunlin, 1 worker"),
        1.5,
    ),
];

/// Prints which aims were reached, of those that were measured.
pub(super) fn judge(product: Product, medians: &Medians) {
    println!("\n{}, aims:", product.as_str());
    let of = |part: &'static str, way: &str| {
        medians.get(&(part, way.to_owned())).map(|(time, _)| time.as_secs_f64())
    };
    for aim in &AIMS {
        let (part, way) = aim.against;
        let (Some(ours), Some(theirs)) = (of(aim.part, aim.way), of(part, way)) else { continue };
        let times = ours / theirs;
        let said = if times <= aim.times { "reached" } else { "missed" };
        let (name, limit) = (aim.way, aim.times);
        println!("  {}: {name}: {times:.2} times {way} (at most {limit}): {said}", aim.part);
    }
    let memory = medians.values().map(|(_, memory)| *memory).max().unwrap_or_default();
    if memory > 0 {
        let said = if memory <= MEMORY_MAX { "reached" } else { "missed" };
        println!("  memory: {} MiB (at most {}): {said}", memory >> 20, MEMORY_MAX >> 20);
    }
}
