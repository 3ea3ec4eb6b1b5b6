//! Lines of a table, one below the other.

/// Values longer than this don't push the notes of all others to the right.
const ALIGNED_MAX: usize = 24;

/// Keys and values of one table.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<Line>);

#[derive(Debug)]
struct Line {
    /// It wants an answer, and so stands behind a `#`.
    open: bool,
    key: String,
    value: String,
    note: String,
}

impl Lines {
    /// A line that holds.
    pub(super) fn add(&mut self, key: &str, value: String, note: Option<String>) {
        let note = note.unwrap_or_default();
        self.0.push(Line { open: false, key: key.to_owned(), value, note });
    }

    /// A line that wants an answer.
    pub(super) fn ask(&mut self, key: &str, value: String, note: String) {
        self.0.push(Line { open: true, key: key.to_owned(), value, note });
    }

    /// A line that wants an answer if `open`, and holds otherwise.
    pub(super) fn put(&mut self, open: bool, key: &str, value: String, note: Option<String>) {
        if open {
            self.ask(key, value, note.unwrap_or_default());
        } else {
            self.add(key, value, note);
        }
    }

    /// Writes them, with the equal signs and the notes below one another.
    pub(super) fn write(&self, text: &mut String) {
        let marked =
            |line: &Line| if line.open { format!("# {}", line.key) } else { line.key.clone() };
        let width = self.0.iter().map(|line| marked(line).chars().count()).max().unwrap_or(0);
        let length = |line: &Line| line.value.chars().count();
        let aligned = |line: &&Line| !line.note.is_empty() && length(line) <= ALIGNED_MAX;
        let values = self.0.iter().filter(aligned).map(length).max().unwrap_or(0);
        for line in &self.0 {
            let whole = format!("{:width$} = {:values$}", marked(line), line.value);
            if line.note.is_empty() {
                text.push_str(whole.trim_end());
            } else {
                text.push_str(&whole);
                text.push_str("   # ");
                text.push_str(&line.note);
            }
            text.push('\n');
        }
    }
}
