//! Arithmetic, comparisons and functions of numbers: exact where SQL is exact.

use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray, UInt64Array};
use dunlin_model::moves::ValueType;

use crate::stage::{Stage, TEXT};

fn money(values: &[Option<&str>]) -> Stage {
    let digits = || StringArray::from(values.to_vec());
    Stage::new()
        .column("price", ValueType::Numeric { scale: Some(2) }, digits())
        .column("open", ValueType::Numeric { scale: None }, digits())
        .column("text", TEXT, digits())
        .column("n", ValueType::Int32, Int32Array::from(vec![3; values.len()]))
        .column("cents", ValueType::Int64, Int64Array::from(vec![1999; values.len()]))
        .column("big", ValueType::UInt64, UInt64Array::from(vec![u64::MAX; values.len()]))
        .column("ratio", ValueType::Float64, Float64Array::from(vec![0.25; values.len()]))
}

/// What an expression gives for a price of 12.50.
fn table(rows: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (text, wanted) in rows {
        let stage = money(&[Some("12.50")]).any("x", text);
        let given = match stage.compiled() {
            Ok(_) => {
                let applied = stage.apply();
                let told = crate::stage::told(&applied);
                told.first().cloned().unwrap_or_else(|| stage.values().join(" "))
            }
            Err(_) => stage.refused(),
        };
        if given != *wanted {
            wrong.push(format!("{text}: {given}, and not {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn decimals_need_no_cast() {
    table(&[
        ("price * 1.2", "15.000"),
        ("price * 2", "25.00"),
        ("price * n", "37.50"),
        ("price + 1", "13.50"),
        ("price - 0.005", "12.495"),
        ("-price", "-12.50"),
        ("price / 4", "3.1250000000000000"),
        ("price / n", "4.1666666666666667"),
        ("open / n", "4.166666666666666666666666666667"),
        ("price % 5", "2.50"),
        ("mod(price, 5)", "2.50"),
        ("mod(cents, 100)", "99"),
        ("open * 1.2", "15"),
        ("open * open * open * open", "24414.0625"),
        ("price * open", "156.25"),
        ("price + open", "25"),
        ("cents / 100", "19"),
        ("cents / 100.0", "19.9900000000000000"),
        ("round(cents / 100.0, 2)", "19.99"),
        ("CAST(cents AS DECIMAL(12,2)) / 100", "19.9900000000000000"),
        ("cents * 0.01", "19.99"),
        ("price * 100", "1250.00"),
        ("price * ratio", "3.125"),
        ("price / 0", "0 x: division by zero"),
        ("price % 0", "0 x: division by zero"),
        ("big + 1", "18446744073709551616"),
        ("big / 10", "1844674407370955161"),
        ("big * big", "0 x: is out of range"),
        ("big * n", "55340232221128654845"),
        ("big / n", "6148914691236517205"),
        ("1.1 + 2.2", "3.3"),
        ("1e2 * 3", "300"),
        ("price * 1e-50 < 1e-48", "true"),
    ]);
}

#[test]
fn decimals_compare_as_numbers() {
    table(&[
        ("price > 9", "true"),
        ("price > 9.999", "true"),
        ("9 < price", "true"),
        ("price = 12.5", "true"),
        ("price = open", "true"),
        ("price = text", "true"),
        ("text > 9", "true"),
        ("text = 12.5", "true"),
        ("text > 9.25", "true"),
        ("price <> 12.500", "false"),
        ("price BETWEEN 9 AND 100", "true"),
        ("price IN (1, 12.5)", "true"),
        ("price NOT IN (1, 2)", "true"),
        ("price IS DISTINCT FROM 12.5", "false"),
        ("price > ratio", "true"),
        ("ratio = 0.25", "true"),
        ("ratio BETWEEN 0.2 AND 0.3", "true"),
        ("price IS NOT NULL", "true"),
        ("big > 5", "true"),
        ("big > n", "true"),
        ("price > 0 AND n > 0", "true"),
        ("price = '12.5'", "true"),
        ("CASE price WHEN 12.5 THEN 'a' ELSE 'b' END", "a"),
    ]);
}

#[test]
fn decimals_go_through_functions_and_case() {
    table(&[
        ("coalesce(price, 0)", "12.50"),
        ("coalesce(open, 0)", "12.5"),
        ("coalesce(nullif(price, 12.5), 7)", "7.00"),
        ("nullif(price, 0)", "12.50"),
        ("CASE WHEN price > 10 THEN price ELSE 0 END", "12.50"),
        ("CASE WHEN price > 10 THEN 1 ELSE price END", "1.00"),
        ("CASE WHEN n = 3 THEN price * 2 ELSE price END", "25.00"),
        ("(CASE WHEN n = 3 THEN 0 ELSE price END) + 1.5", "1.50"),
        ("greatest(price, 20)", "20.00"),
        ("least(price, 20, open)", "12.5"),
        ("greatest(n, cents)", "1999"),
        ("coalesce(ratio, 0.0)", "0.25"),
        ("concat(price, ' EUR')", "12.50 EUR"),
        ("price || ' EUR'", "12.50 EUR"),
        ("open || ' EUR'", "12.50 EUR"),
        ("CAST(price AS TEXT)", "12.50"),
        ("CAST(open AS VARCHAR)", "12.50"),
        ("CAST(open * 2 AS TEXT)", "25"),
        ("replace(price, '.', ',')", "12,50"),
        ("length(price)", "5"),
        ("split_part(price, '.', 2)", "50"),
        ("price LIKE '%.50'", "true"),
        ("price ~ '50$'", "true"),
        ("to_json(price)", "12.50"),
        ("to_json(open * 2)", "25"),
        ("to_json(named_struct('p', price, 'q', n))", r#"{"p":12.50,"q":3}"#),
        ("CAST(price AS DOUBLE)", "12.5"),
        ("CAST(price AS INT)", "0 x: has a fraction, or is too large"),
        ("CAST(round(price) AS INT)", "13"),
        ("CAST(price * 100 AS BIGINT)", "1250"),
        ("CAST(price AS DECIMAL(10,1))", "12.5"),
        ("CAST(price AS DECIMAL(10,0))", "0 x: has more than 0 digits after the point"),
        ("CAST(price AS DECIMAL(3,2))", "0 x: is out of range"),
        ("CAST(ratio AS DECIMAL(10,2))", "0.25"),
        ("CAST(ratio * 0.1 AS DECIMAL(10,2))", "0 x: has more than 2 digits after the point"),
        ("make_array(price, 1)", "[12.50, 1.00]"),
    ]);
}

#[test]
fn functions_of_decimals_are_exact() {
    table(&[
        ("round(price)", "13"),
        ("round(-price)", "-13"),
        ("round(price, 1)", "12.5"),
        ("round(price, 5)", "12.50"),
        ("round(price, -1)", "10"),
        ("round(price * 1.19, 2)", "14.88"),
        ("round(1.005, 2)", "1.01"),
        ("round(2.5)", "3"),
        ("round(price, n - 2)", "12.50"),
        ("trunc(price)", "12"),
        ("trunc(price, 1)", "12.5"),
        ("trunc(-1.99)", "-1"),
        ("truncate(price, 1)", "12.5"),
        ("floor(price)", "12"),
        ("floor(-price)", "-13"),
        ("floor(-12.00)", "-12"),
        ("ceil(price)", "13"),
        ("ceiling(-price)", "-12"),
        ("abs(-price)", "12.50"),
        ("abs(-n)", "3"),
        ("sign(-price)", "-1"),
        ("sign(n)", "1"),
        ("signum(0.0)", "0"),
        ("floor(cents / 100.0)", "19"),
        ("floor(n)", "3"),
        ("round(n)", "3"),
        ("round(cents, -2)", "2000"),
        ("trunc(cents, -2)", "1900"),
        ("power(10, 3)", "1000"),
        ("price / power(10, n)", "0.0125"),
        ("cents * power(10, -2)", "19.99"),
        ("round(1000 * power(1.05, 10), 2)", "1628.89"),
        ("round(open / 7, 4)", "1.7857"),
    ]);
}

#[test]
fn functions_of_floating_point_are_checked() {
    table(&[
        ("sqrt(price + 3.5)", "4.0"),
        ("sqrt(-1)", "0 x: is out of range"),
        ("sqrt(ratio)", "0.5"),
        ("ln(0)", "0 x: is out of range"),
        ("ln(n - 3)", "0 x: is out of range"),
        ("log10(1000)", "3.0"),
        ("log(2, 8)", "3.0"),
        ("log10(0.0)", "0 x: is out of range"),
        ("exp(0)", "1.0"),
        ("exp(1000)", "0 x: is out of range"),
        ("power(ratio, 2)", "0.0625"),
        ("power(4, 0.5)", "2.0"),
        ("power(ratio - 1, 0.5)", "0 x: is out of range"),
        ("pow(2, 10)", "1024"),
        ("power(10, 100)", "0 x: is out of range"),
        ("cbrt(27)", "3.0"),
        ("round(ratio, 1)", "0.3"),
        ("trunc(ratio)", "0.0"),
        ("floor(ratio)", "0.0"),
        ("ceil(ratio)", "1.0"),
        ("abs(-ratio)", "0.25"),
        ("ratio / 0", "0 x: division by zero"),
        ("n / (ratio - 0.25)", "0 x: division by zero"),
        ("ratio * CAST('1e308' AS DOUBLE) * 1e10", "0 x: is out of range"),
        ("ratio * n + 1", "1.75"),
        ("round(pi(), 2)", "3.14"),
        ("acos(2)", "0 x: is out of range"),
        ("gcd(cents, 3)", "1"),
        ("atan2(1, 1)", "0.7853981633974483"),
        ("degrees(pi())", "180.0"),
    ]);
}

#[test]
fn casts_to_floating_point_lose_no_number() {
    table(&[
        ("CAST('1e400' AS DOUBLE)", "0 x: is out of range"),
        ("CAST('-1e400' AS DOUBLE)", "0 x: is out of range"),
        ("CAST('1e-400' AS DOUBLE)", "0 x: is out of range"),
        ("CAST('-0.5e-400' AS DOUBLE)", "0 x: is out of range"),
        ("CAST('0e-400' AS DOUBLE)", "0.0"),
        ("CAST(' 1e-300 ' AS DOUBLE)", "1e-300"),
        ("CAST('-Infinity' AS DOUBLE)", "-inf"),
        ("CAST('inf' AS DOUBLE)", "inf"),
        ("CAST('1e39' AS REAL)", "0 x: is out of range"),
        ("CAST('1e-60' AS REAL)", "0 x: is out of range"),
        ("CAST(CAST('1e300' AS DOUBLE) AS REAL)", "0 x: is out of range"),
        ("CAST(CAST('1e-300' AS DOUBLE) AS REAL)", "0 x: is out of range"),
        ("CAST(CAST('-inf' AS DOUBLE) AS REAL)", "-inf"),
        ("CAST(price * 1e40 AS REAL)", "0 x: is out of range"),
        ("TRY_CAST('1e400' AS DOUBLE)", "NULL"),
        ("TRY_CAST('1e-400' AS DOUBLE)", "NULL"),
    ]);
}

#[test]
fn what_is_no_number_fails_alone() {
    let values = [Some("12.50"), Some("NaN"), None, Some("Infinity"), Some("x")];
    let stage = money(&values).any("x", "price * 2");
    assert_eq!(stage.values(), ["25.00", "NULL"]);
    assert_eq!(
        stage.failures(),
        ["1 x: is not a finite number", "3 x: is not a finite number", "4 x: is not a number"]
    );
    // Copies are what they were, whatever they are.
    let stage = money(&values).set("x", "open", ValueType::Numeric { scale: None });
    assert_eq!(stage.values(), ["12.50", "NaN", "NULL", "Infinity"]);
    let stage = money(&[Some("NaN"), Some("1")]).any("x", "price IS NULL");
    assert_eq!(stage.values(), ["false", "false"]);
    let named = money(&values).given("p", "price").any("x", "p");
    assert_eq!(named.values(), ["12.50", "NaN", "NULL", "Infinity", "x"]);
    let named = money(&values[..1]).given("p", "price").any("x", "p * 2 > p");
    assert_eq!(named.values(), ["true"]);
    let named = money(&values).given("gross", "price * 1.2").any("x", "gross").any("y", "n");
    assert_eq!(named.failures().len(), 3);
}

#[test]
fn what_decimals_become_in_a_column() {
    let set = |text: &str, of: ValueType| money(&[Some("12.50"), Some("0.10")]).set("x", text, of);
    assert_eq!(set("price * 100", ValueType::Int64).values(), ["1250", "10"]);
    assert_eq!(set("price", ValueType::Int32).failures().len(), 2);
    assert_eq!(set("price * 10", ValueType::Int16).values(), ["125", "1"]);
    assert_eq!(set("price", ValueType::Float64).values(), ["12.5", "0.1"]);
    assert_eq!(
        set("price / 3", ValueType::Float64).values(),
        ["4.166666666666667", "0.0333333333333333"]
    );
    assert_eq!(set("price", TEXT).values(), ["12.50", "0.10"]);
    let two = ValueType::Numeric { scale: Some(2) };
    assert_eq!(set("price * 1.5", two.clone()).values(), ["18.750", "0.150"]);
    assert_eq!(
        set("price * 0.25", two.clone()).failures(),
        [
            "0 x: has more than 2 digits after the point",
            "1 x: has more than 2 digits after the point"
        ]
    );
    assert_eq!(set("round(price * 1.5, 2)", two.clone()).values(), ["18.75", "0.15"]);
    assert_eq!(set("cents / 100.0", two.clone()).values(), ["19.9900000000000000"; 2]);
    assert!(set("ratio", two.clone()).refused().contains("CAST(… AS DECIMAL(38, 2))"));
    assert_eq!(set("CAST(ratio AS DECIMAL(38, 2))", two).values(), ["0.25"; 2]);
    assert_eq!(set("0.1", ValueType::Float64).values(), ["0.1"; 2]);
    let exact = Stage::new()
        .column(
            "p",
            ValueType::Numeric { scale: None },
            StringArray::from(vec!["0.1", "0.1234567890123456789"]),
        )
        .set("x", "p", ValueType::Float64);
    assert_eq!(exact.failures(), ["1 x: is out of range"]);
}

/// SQLite keeps 3.9699999999999998 in a `decimal(10,2)`.
#[test]
fn digits_beyond_the_columns_are_there_where_nothing_keeps_them_away() {
    let mut stage = money(&[Some("3.9699999999999998")]).any("x", "round(price, 2)");
    assert_eq!(stage.failures(), ["0 x: has more than 2 digits after the point"]);
    stage.asked.scales_hold = false;
    assert_eq!(stage.values(), ["3.97"]);
}

#[test]
fn keys_that_are_decimals_stay_texts() {
    let keys = StringArray::from(vec!["10", "7"]);
    let of = ValueType::Numeric { scale: Some(0) };
    let stage = Stage::new().column("id", of, keys);
    let stage = stage.any("x", "CASE WHEN id > 8 THEN id END").any("y", "id");
    let applied = stage.apply();
    assert_eq!(crate::stage::shown(applied.rows.column(0)), ["10", "NULL"]);
    assert_eq!(crate::stage::shown(applied.rows.column(1)), ["10", "7"]);
    assert!(applied.rows.columns().iter().all(|column| column.data_type().is_string()));
}
