//! CSV: from bytes to records.
//!
//! Our own, since what readers of CSV heal in silence must be told here: a quote that is never
//! closed, and text after a closing one.

use std::io::{self, BufRead};

use memchr::memchr;

/// A record has at most so many bytes. More is a quote that nobody closed, or no CSV.
pub(crate) const RECORD_BYTES_MAX: usize = 16 << 20;

/// Why a record is none.
pub(crate) type Why = &'static str;

/// A record: its fields' bytes one after the other.
#[derive(Debug, Default)]
pub(crate) struct Record {
    data: Vec<u8>,
    /// Where each field ends in `data`, and whether it stood in quotes.
    fields: Vec<(usize, bool)>,
    /// The line that it begins in, from 1.
    pub(crate) line: u64,
    /// The line that it ends in.
    pub(crate) last_line: u64,
    /// What is wrong with it as a whole.
    pub(crate) fault: Option<Why>,
}

impl Record {
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// A field's bytes, and whether it stood in quotes.
    pub(crate) fn field(&self, place: usize) -> (&[u8], bool) {
        let from = if place == 0 { 0 } else { self.fields[place - 1].0 };
        let (to, quoted) = self.fields[place];
        (&self.data[from..to], quoted)
    }

    fn clear(&mut self) {
        self.data.clear();
        self.fields.clear();
        self.fault = None;
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.data.len() + bytes.len() > RECORD_BYTES_MAX {
            self.fault = Some("is longer than 16 MiB");
        }
        // What is too long anyway isn't kept.
        if self.fault.is_none() {
            self.data.extend_from_slice(bytes);
        }
    }

    fn end_field(&mut self, quoted: bool) {
        // A record of nothing but delimiters must not grow without an end either.
        if self.fields.len() * 16 > RECORD_BYTES_MAX {
            self.fault = Some("is longer than 16 MiB");
        } else {
            self.fields.push((self.data.len(), quoted));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    FieldStart,
    Unquoted,
    Quoted,
    /// After a quote in a quoted field: it closes the field, or the next is one of the text.
    Quote,
    AfterQuoted,
}

/// The records of a file.
pub(crate) struct Records<R> {
    input: R,
    delimiter: u8,
    quote: Option<u8>,
    /// The line that comes next, from 1.
    line: u64,
    /// The last byte was a carriage return that ended a record: a line feed belongs to it.
    after_return: bool,
}

impl<R: BufRead> Records<R> {
    /// `line`: that of the first byte.
    pub(crate) fn new(input: R, delimiter: u8, quote: Option<u8>, line: u64) -> Self {
        Self { input, delimiter, quote, line, after_return: false }
    }

    /// Reads the next record that isn't an empty line. `false`: there is none.
    pub(crate) fn next(&mut self, record: &mut Record) -> io::Result<bool> {
        loop {
            if !self.read(record)? {
                return Ok(false);
            }
            let is_empty = record.fields == [(0, false)] && record.fault.is_none();
            if !is_empty {
                return Ok(true);
            }
        }
    }

    fn read(&mut self, record: &mut Record) -> io::Result<bool> {
        record.clear();
        record.line = self.line;
        let mut at = At::FieldStart;
        let mut is_there = false;
        loop {
            let buffer = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if buffer.is_empty() {
                return Ok(self.end_of_file(record, at, is_there));
            }
            let mut place = 0;
            if self.after_return {
                self.after_return = false;
                place = usize::from(buffer[0] == b'\n');
            }
            let mut ended = false;
            while place < buffer.len() && !ended {
                is_there = true;
                let rest = &buffer[place..];
                (place, ended) = match at {
                    At::Quoted => {
                        let quote = self.quote.unwrap_or(b'"');
                        let until = memchr(quote, rest);
                        let text = &rest[..until.unwrap_or(rest.len())];
                        self.line += text.iter().filter(|byte| **byte == b'\n').count() as u64;
                        record.push(text);
                        if until.is_some() {
                            at = At::Quote;
                        }
                        (place + text.len() + usize::from(until.is_some()), false)
                    }
                    At::Quote if Some(rest[0]) == self.quote => {
                        record.push(&rest[..1]);
                        at = At::Quoted;
                        (place + 1, false)
                    }
                    At::FieldStart if Some(rest[0]) == self.quote => {
                        at = At::Quoted;
                        (place + 1, false)
                    }
                    _ => {
                        let (delimiter, state) = (self.delimiter, &mut at);
                        let (taken, end) = plain(record, delimiter, state, rest);
                        if let Some(end) = end {
                            self.after_return = end == b'\r';
                            self.line += 1;
                        }
                        (place + taken, end.is_some())
                    }
                };
            }
            self.input.consume(place);
            if ended {
                record.last_line = self.line - 1;
                return Ok(true);
            }
        }
    }

    fn end_of_file(&self, record: &mut Record, at: At, is_there: bool) -> bool {
        if !is_there {
            return false;
        }
        record.last_line = self.line;
        if at == At::Quoted {
            record.fault = Some("has a quote that is never closed");
        }
        record.end_field(matches!(at, At::Quoted | At::Quote | At::AfterQuoted));
        true
    }
}

/// Takes bytes outside of quotes up to the end of a field or record. Gives how many, and what ended
/// the record, if it is at its end.
fn plain(record: &mut Record, delimiter: u8, at: &mut At, rest: &[u8]) -> (usize, Option<u8>) {
    let is_end = |byte: &u8| *byte == delimiter || *byte == b'\n' || *byte == b'\r';
    let until = rest.iter().position(is_end);
    let text = &rest[..until.unwrap_or(rest.len())];
    let quoted = matches!(at, At::Quote | At::AfterQuoted);
    if !text.is_empty() {
        if *at == At::Quote {
            record.fault = record.fault.or(Some("has text after a closing quote"));
        }
        *at = if quoted { At::AfterQuoted } else { At::Unquoted };
        record.push(text);
    }
    let Some(until) = until else { return (rest.len(), None) };
    record.end_field(quoted);
    *at = At::FieldStart;
    let end = rest[until];
    (until + 1, (end != delimiter).then_some(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], capacity: usize) -> Vec<(u64, u64, Vec<String>, Option<Why>)> {
        let input = io::BufReader::with_capacity(capacity, text);
        let mut records = Records::new(input, b',', Some(b'"'), 1);
        let (mut record, mut found) = (Record::default(), Vec::new());
        while records.next(&mut record).unwrap() {
            let text = |place| {
                let (bytes, quoted) = record.field(place);
                let mark = if quoted { "'" } else { "" };
                format!("{mark}{}{mark}", String::from_utf8_lossy(bytes))
            };
            let fields = (0..record.len()).map(text).collect();
            found.push((record.line, record.last_line, fields, record.fault));
        }
        found
    }

    fn fields(text: &str) -> Vec<Vec<String>> {
        let one = all(text.as_bytes(), 1);
        assert_eq!(one, all(text.as_bytes(), 64), "buffers make no difference");
        one.into_iter().map(|(_, _, fields, _)| fields).collect()
    }

    #[test]
    fn records_and_fields() {
        assert_eq!(fields("a,b\n1,\n"), [["a", "b"], ["1", ""]]);
        assert_eq!(fields("a,b\r\n1,2"), [["a", "b"], ["1", "2"]]);
        assert_eq!(fields("a\r\rb\r"), [["a"], ["b"]]);
        assert_eq!(fields("\n\na,\"\"\n\n"), [["a", "''"]]);
        assert_eq!(fields("\"x, \"\"y\"\"\nz\",2\n"), [["'x, \"y\"\nz'", "2"]]);
        assert_eq!(fields("a \"b\" c,d\"\n"), [["a \"b\" c", "d\""]]);
        assert_eq!(fields(",,\n"), [["", "", ""]]);
        assert_eq!(fields("\"\"\n"), [["''"]]);
        assert_eq!(fields(""), Vec::<Vec<String>>::new());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_lines() {
        let text = b"a,b\n\"x\ny\"z,1\nc,d\n\"e,f\ng,h\n";
        for capacity in [1, 3, 64] {
            let found = all(text, capacity);
            let told: Vec<_> = found.iter().map(|one| (one.0, one.1, one.3)).collect();
            let never = Some("has a quote that is never closed");
            let after = Some("has text after a closing quote");
            assert_eq!(told, [(1, 1, None), (2, 3, after), (4, 4, None), (5, 7, never)]);
        }
    }

    #[test]
    fn a_record_without_an_end_takes_no_memory() {
        let mut text = b"\"".to_vec();
        text.resize(RECORD_BYTES_MAX + 100, b'x');
        let found = all(&text, 1 << 16);
        assert_eq!(found[0].3, Some("has a quote that is never closed"));
        let mut text = vec![b'x'; RECORD_BYTES_MAX + 100];
        text.extend_from_slice(b"\nb\n");
        let found = all(&text, 1 << 16);
        assert_eq!((found[0].3, found[1].2[0].as_str()), (Some("is longer than 16 MiB"), "b"));
    }
}
