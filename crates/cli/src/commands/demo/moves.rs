//! `demo move`: an old shop's database into a new one's shape, three times.
//!
//! As in the other demo nothing is staged: the commands are this program's own, and what they did is
//! looked up in both databases.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Instant;

use super::child::Shell;
use super::project::{self, Kit};
use super::{Verdict, play, prove, rows, say};
use crate::exit::{CliError, Exit};
use crate::render::{self, FAINT, styled};

const MAPPING: &str = "moves/shop.toml";

/// What is edited in the mapping, and into what.
const EDIT: (&str, &str) = ("ELSE 'sent'", "ELSE 'shipped'");

/// The one that corrects a name in the new shop, between the first run and the second.
const CORRECTED: (&str, &str) = ("ann7@example.org", "Smith-Jones");

const KIT: Kit = Kit {
    configuration: include_str!("../../templates/demo_move/dunlin.toml"),
    files: &[
        (MAPPING, include_str!("../../templates/demo_move/shop.toml"), false),
        ("old/1_shop.up.sql", include_str!("../../templates/demo_move/old/1_shop.up.sql"), false),
        ("old/2_a_day.up.sql", include_str!("../../templates/demo_move/old/2_a_day.up.sql"), false),
        ("new/1_shop.up.sql", include_str!("../../templates/demo_move/new/1_shop.up.sql"), false),
        ("new/2_a_try.up.sql", include_str!("../../templates/demo_move/new/2_a_try.up.sql"), false),
    ],
    folders: &["moves", "old", "new"],
    databases: &["old.db", "new.db"],
    elsewhere: "dunlin demo move --folder DIR",
};

/// Makes both shops and tells the story.
pub(super) async fn run(folder: &Path) -> Result<Exit, CliError> {
    let began = Instant::now();
    project::lay_out(folder, &KIT)?;
    let shell = Shell::new(folder)?;
    let mut told = BTreeSet::new();
    shell.quietly(&["migrate", "--database", "old", "--to", "1"]).await?;
    shell.quietly(&["migrate", "--database", "app", "--to", "1"]).await?;
    say(&format!(
        "{}/ has an old shop's data, old.db, and a new shop's empty tables, new.db.",
        folder.display()
    ));
    render::data(
        "  Numbers become UUIDs, two item columns become rows, states become words, and who has",
    );
    render::data(&format!("  two accounts becomes one customer: {MAPPING} says so in 40 lines."));
    command(&shell, &mut told, &["move", "run", "shop"]).await?;
    let first = rows::all(folder, "new", "customers", &["email", "id"]).await?;

    say("A day in the old shop: two orders come in, one is paid, one is deleted.");
    say("And somebody tries the new shop already, and corrects a name there. The second night:");
    shell.quietly(&["migrate", "--database", "old"]).await?;
    shell.quietly(&["migrate", "--database", "app"]).await?;
    command(&shell, &mut told, &["move", "run", "shop"]).await?;

    say("The mapping is edited: orders that were sent are called shipped. The third night:");
    edit(folder)?;
    command(&shell, &mut told, &["move", "run", "shop"]).await?;

    say("Nothing vanished: each row that is not there as it was, by its old key.");
    command(&shell, &mut told, &["move", "rejects", "shop"]).await?;

    let last = rows::all(folder, "new", "customers", &["email", "id"]).await?;
    let right = prove(&[
        orders_line(folder).await?,
        ids_line(&first, &last),
        corrected_line(folder).await?,
    ]);
    play(
        folder,
        began,
        &[
            (
                "move ids show shop customer 500",
                "the new id of an old key: here of a second account",
            ),
            ("move run shop --dry-run", "edit the mapping, and see what a run would write"),
            ("move finish shop", "the switch: the last run; later ones are refused"),
        ],
    );
    Ok(if right { Exit::Done } else { Exit::Failed })
}

async fn command(
    shell: &Shell,
    told: &mut BTreeSet<String>,
    words: &[&str],
) -> Result<(), CliError> {
    render::data(&styled(FAINT, &format!("  $ dunlin {}", words.join(" "))));
    shell.in_order(words, told).await
}

fn edit(folder: &Path) -> Result<(), CliError> {
    let file = folder.join(MAPPING);
    let text = fs::read_to_string(&file).map_err(|error| CliError::file("read", &file, &error))?;
    let edited = text.replace(EDIT.0, EDIT.1);
    fs::write(&file, edited).map_err(|error| CliError::file("write", &file, &error))
}

/// An order as both shops know it: by whom, what, how it stands. Which id it has is no part of it.
type Order = (String, BTreeSet<String>, String, String);

/// Compares all orders of both shops, by what they say.
async fn orders_line(folder: &Path) -> Result<Verdict, CliError> {
    let (expected, gone) = old_orders(folder).await?;
    let found = new_orders(folder).await?;
    let text = format!(
        "{} orders with customer, items and state are in the new shop; {gone} had no customer",
        found.values().sum::<usize>()
    );
    Ok((expected == found && !found.is_empty(), text))
}

/// How often each order should be there, and how many should not be.
async fn old_orders(folder: &Path) -> Result<(BTreeMap<Order, usize>, usize), CliError> {
    let mails: BTreeMap<String, String> =
        pairs(rows::all(folder, "old", "customers", &["id", "email"]).await?);
    let columns = ["id", "customer_id", "first_item", "second_item", "state", "ordered_on"];
    let (mut expected, mut gone) = (BTreeMap::new(), 0);
    for row in rows::all(folder, "old", "orders", &columns).await? {
        let [_, customer, first, second, state, day] = &row[..] else { continue };
        let Some(mail) = mails.get(customer) else {
            gone += 1;
            continue;
        };
        let mut items = BTreeSet::from([format!("1 {first}")]);
        if !second.is_empty() {
            items.insert(format!("2 {second}"));
        }
        let state = match state.as_str() {
            "0" => "open",
            "1" => "paid",
            _ => "shipped",
        };
        let order = (mail.to_lowercase(), items, state.to_owned(), day.clone());
        *expected.entry(order).or_default() += 1;
    }
    Ok((expected, gone))
}

async fn new_orders(folder: &Path) -> Result<BTreeMap<Order, usize>, CliError> {
    let mails: BTreeMap<String, String> =
        pairs(rows::all(folder, "new", "customers", &["id", "email"]).await?);
    let mut items: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows::all(folder, "new", "order_items", &["order_id", "position", "product"]).await?
    {
        let [order, position, product] = &row[..] else { continue };
        items.entry(order.clone()).or_default().insert(format!("{position} {product}"));
    }
    let mut found = BTreeMap::new();
    for row in
        rows::all(folder, "new", "orders", &["id", "customer_id", "state", "ordered_on"]).await?
    {
        let [id, customer, state, day] = &row[..] else { continue };
        let mail = mails.get(customer).cloned().unwrap_or_default();
        let order = (mail, items.remove(id).unwrap_or_default(), state.clone(), day.clone());
        *found.entry(order).or_default() += 1;
    }
    Ok(found)
}

fn ids_line(first: &[Vec<String>], last: &[Vec<String>]) -> Verdict {
    let text = format!("{} customers have the ids of the first night", last.len());
    (first == last && !last.is_empty(), text)
}

async fn corrected_line(folder: &Path) -> Result<Verdict, CliError> {
    let names = pairs(rows::all(folder, "new", "customers", &["email", "last_name"]).await?);
    let kept = names.get(CORRECTED.0).is_some_and(|name| name == CORRECTED.1);
    Ok((kept, "the name that was corrected in the new shop is as it was corrected".to_owned()))
}

fn pairs(rows: Vec<Vec<String>>) -> BTreeMap<String, String> {
    rows.into_iter()
        .filter_map(|row| {
            let mut values = row.into_iter();
            Some((values.next()?, values.next()?))
        })
        .collect()
}
