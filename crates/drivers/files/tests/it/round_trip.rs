//! What a writer of CSV wrote arrives as it was.

use csv::{QuoteStyle, Terminator, WriterBuilder};
use proptest::prelude::*;

use crate::Folder;

fn table() -> impl Strategy<Value = Vec<Vec<String>>> {
    (1_usize..5).prop_flat_map(|width| {
        let field = prop_oneof![
            3 => "[a-c ,;\"'\r\n\t\\\\]{0,12}",
            1 => "\\PC{0,8}",
            1 => Just(String::new()),
        ];
        prop::collection::vec(prop::collection::vec(field, width), 0..20)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn tables_arrive_unchanged(
        rows in table(),
        always in any::<bool>(),
        crlf in any::<bool>(),
        delimiter in prop::sample::select(b",;\t|".as_slice()),
    ) {
        let mut writer = WriterBuilder::new()
            .delimiter(delimiter)
            .quote_style(if always { QuoteStyle::Always } else { QuoteStyle::Necessary })
            .terminator(if crlf { Terminator::CRLF } else { Terminator::Any(b'\n') })
            .from_writer(Vec::new());
        let width = rows.first().map_or(1, Vec::len);
        let names: Vec<String> = (0..width).map(|place| format!("c{place}")).collect();
        writer.write_record(&names).unwrap();
        rows.iter().for_each(|row| writer.write_record(row).unwrap());
        let bytes = writer.into_inner().unwrap();
        let folder = Folder::with(&[("t.csv", &bytes)]);
        let says = format!(
            "[files]\nnull = []\ndelimiter = \"{}\"\n[from.t]\nkey = \"line\"\n",
            (delimiter as char).escape_default()
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (found, unread) = runtime.block_on(folder.read("t", &says));
        prop_assert_eq!(unread.count, 0);
        let found: Vec<Vec<String>> =
            found.into_iter().map(|mut row| { row.pop(); row }).collect();
        prop_assert_eq!(found, rows);
    }

    /// Whatever stands in a file, each line is a row or told of.
    #[test]
    fn any_bytes_are_rows_or_told_of(
        lines in prop::collection::vec(
            prop::collection::vec(prop::sample::select(b"a1,;\xc3\xa9\x00'".as_slice()), 1..20),
            0..30,
        ),
        quote in any::<prop::sample::Index>(),
        quotes in any::<bool>(),
    ) {
        let mut bytes = b"id,a\n".to_vec();
        let opened = if lines.is_empty() { 0 } else { quote.index(lines.len()) };
        for (place, line) in lines.iter().enumerate() {
            // From here on there is one record, and it is told with all of its lines.
            if quotes && place == opened {
                bytes.push(b'"');
            }
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        let folder = Folder::with(&[("t.csv", &bytes)]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (found, unread) = runtime.block_on(folder.read("t", "[from.t]\nkey = \"line\"\n"));
        let count = if quotes && !lines.is_empty() { opened + 1 } else { lines.len() };
        prop_assert_eq!(found.len() as u64 + unread.count, count as u64);
    }
}
