//! Where the comments of a file are, without knowing the server's whole grammar.
//!
//! A header needs no more than comments and white space. Below the first statement the servers
//! disagree on what a string is (backslashes, `#`), so a comment counts there only if every reading
//! agrees that it is one: better to miss a misplaced directive in an odd file than to refuse a
//! string that happens to look like one.

/// A comment that ends with its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Comment<'a> {
    /// `--`, `#` or `//`.
    pub(crate) marker: &'static str,
    /// What follows the marker, without the line's end.
    pub(crate) body: &'a str,
    /// Byte offset of the marker.
    pub(crate) offset: usize,
    /// From 1.
    pub(crate) line: usize,
    /// Of the marker, from 1.
    pub(crate) column: usize,
}

/// The comments before the first statement.
#[derive(Debug, Default)]
pub(crate) struct Header<'a> {
    /// Those that end with their line.
    pub(crate) lines: Vec<Comment<'a>>,
    /// The lines of block comments, one by one.
    pub(crate) blocks: Vec<Comment<'a>>,
    /// Where the first statement starts, in bytes.
    pub(crate) end: usize,
}

/// Reads the header of a SQL file.
pub(crate) fn sql_header(text: &str) -> Header<'_> {
    let mut header = Header::default();
    let mut at = Cursor::new(text);
    loop {
        at.skip_space();
        let rest = at.rest();
        if rest.starts_with("--") {
            header.lines.push(at.line_comment("--"));
        } else if rest.starts_with('#') {
            header.lines.push(at.line_comment("#"));
        } else if is_block_comment(rest) {
            let Some(length) = block_length(rest) else { break };
            at.block_comment(length, &mut header.blocks);
        } else {
            break;
        }
    }
    header.end = at.offset;
    header
}

/// Reads the header of a program: comment lines and blank lines before the first line of code.
pub(crate) fn program_header(text: &str) -> Header<'_> {
    let mut header = Header::default();
    let mut at = Cursor::new(text);
    loop {
        at.skip_space();
        let rest = at.rest();
        // PHP's opening tag comes before its first comment.
        if rest.starts_with("<?php") {
            at.advance("<?php".len());
            continue;
        }
        let Some(marker) = program_marker(rest) else { break };
        header.lines.push(at.line_comment(marker));
    }
    header.end = at.offset;
    header
}

/// Comment lines of a program below its header. Only lines that hold nothing else: where a string
/// begins and ends differs from language to language.
pub(crate) fn program_comments_after(text: &str, from: usize) -> Vec<Comment<'_>> {
    let mut comments = Vec::new();
    let mut at = Cursor::new(text);
    at.advance(from);
    loop {
        at.skip_space();
        match program_marker(at.rest()) {
            Some(marker) => comments.push(at.line_comment(marker)),
            None if at.rest().is_empty() => return comments,
            None => at.advance(line_length(at.rest())),
        }
    }
}

/// The `--` comments of a SQL file below its header on which every reading of it agrees.
pub(crate) fn sql_comments_after(text: &str, from: usize) -> Vec<Comment<'_>> {
    let mut agreed: Option<Vec<usize>> = None;
    for backslashes in [false, true] {
        for hashes in [false, true] {
            let found = line_comments(text, from, Reading { backslashes, hashes });
            agreed = Some(match agreed {
                None => found,
                Some(before) => {
                    before.into_iter().filter(|at| found.binary_search(at).is_ok()).collect()
                }
            });
        }
    }
    let mut at = Cursor::new(text);
    let mut comments = Vec::new();
    for offset in agreed.unwrap_or_default() {
        at.advance(offset.saturating_sub(at.offset));
        comments.push(at.line_comment("--"));
    }
    comments
}

/// A place in a text that knows its line.
struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
    line_start: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, offset: start, line: 1, line_start: start }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.offset..]
    }

    /// Moves on; a length that would end inside a character or beyond the text is shortened.
    fn advance(&mut self, length: usize) {
        let mut target = (self.offset + length).min(self.text.len());
        while !self.text.is_char_boundary(target) {
            target -= 1;
        }
        let passed = &self.text.as_bytes()[self.offset..target];
        for (index, _) in passed.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            self.line += 1;
            self.line_start = self.offset + index + 1;
        }
        self.offset = target;
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.advance(rest.len() - rest.trim_start().len());
    }

    fn column(&self) -> usize {
        self.text[self.line_start..self.offset].chars().count() + 1
    }

    fn line_comment(&mut self, marker: &'static str) -> Comment<'a> {
        let rest = self.rest();
        let length = line_length(rest);
        let comment = Comment {
            marker,
            body: rest.get(marker.len()..length).unwrap_or_default(),
            offset: self.offset,
            line: self.line,
            column: self.column(),
        };
        self.advance(length);
        comment
    }

    fn block_comment(&mut self, length: usize, lines: &mut Vec<Comment<'a>>) {
        let end = self.offset + length;
        let inner_end = end.saturating_sub("*/".len());
        self.advance("/*".len());
        while self.offset < inner_end {
            let body_length = line_length(self.rest()).min(inner_end - self.offset);
            lines.push(Comment {
                marker: "/*",
                body: self.rest().get(..body_length).unwrap_or_default(),
                offset: self.offset,
                line: self.line,
                column: self.column(),
            });
            self.advance(body_length + 1);
        }
        self.advance(end.saturating_sub(self.offset));
    }
}

fn line_length(rest: &str) -> usize {
    rest.find(['\n', '\r']).unwrap_or(rest.len())
}

fn program_marker(rest: &str) -> Option<&'static str> {
    ["#", "//", "--"].into_iter().find(|marker| rest.starts_with(marker))
}

/// `/*! … */` and `/*M! … */` are statements to MySQL and MariaDB.
fn is_block_comment(rest: &str) -> bool {
    rest.starts_with("/*") && !rest.starts_with("/*!") && !rest.starts_with("/*M!")
}

/// The length of a block comment with its marks: nested as PostgreSQL reads it, or, where that
/// never ends, to the first `*/` as the others do. `None` where it never ends at all.
fn block_length(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    rest.get(2..)?.find("*/").map(|end| end + 4)
}

/// One way to read SQL, where the servers differ.
#[derive(Clone, Copy)]
struct Reading {
    /// A backslash in a string takes the next character with it.
    backslashes: bool,
    /// `#` starts a comment.
    hashes: bool,
}

/// Offsets of the `--` comments, in order.
fn line_comments(text: &str, from: usize, reading: Reading) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = from;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        at += match rest[0] {
            b'-' if rest.starts_with(b"--") => {
                found.push(at);
                bytes_to_line_end(rest)
            }
            b'#' if reading.hashes => bytes_to_line_end(rest),
            b'/' if rest.starts_with(b"/*") => {
                text.get(at..).and_then(block_length).unwrap_or(rest.len())
            }
            quote @ (b'\'' | b'"' | b'`') => quoted_length(rest, quote, reading.backslashes),
            b'$' => text.get(at..).map_or(1, dollar_quoted_length),
            _ => 1,
        };
    }
    found
}

fn bytes_to_line_end(rest: &[u8]) -> usize {
    rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len())
}

/// The length of a quoted string; a doubled quote is read as two strings in a row, which comes to
/// the same.
fn quoted_length(rest: &[u8], quote: u8, backslashes: bool) -> usize {
    let mut at = 1;
    while at < rest.len() {
        if rest[at] == quote {
            return at + 1;
        }
        at += if backslashes && rest[at] == b'\\' { 2 } else { 1 };
    }
    rest.len()
}

/// The length of `$tag$ … $tag$`, or 1 where the dollar starts no such string.
fn dollar_quoted_length(rest: &str) -> usize {
    let Some(tag_end) = rest[1..].find('$').map(|end| end + 2) else { return 1 };
    let tag = &rest[..tag_end];
    let inner = &tag[1..tag.len() - 1];
    let is_tag = inner.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !inner.starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return 1;
    }
    rest[tag_end..].find(tag).map_or(1, |end| tag_end + end + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies<'a>(comments: &[Comment<'a>]) -> Vec<&'a str> {
        comments.iter().map(|comment| comment.body).collect()
    }

    #[test]
    fn a_header_ends_at_the_first_statement() {
        let header = sql_header("\u{feff}-- a\r\n\n/* b /* c */ */ -- d\n# e\nSELECT 1; -- f");
        assert_eq!(bodies(&header.lines), [" a", " d", " e"]);
        assert_eq!(header.lines[1].line, 3);
        assert_eq!(header.lines[1].column, 17);
        assert_eq!(bodies(&header.blocks), [" b /* c */ "]);
        assert!(sql_header("/*! SET x */ -- a").lines.is_empty());
        assert!(sql_header("/* never closed\n-- a").lines.is_empty());
        assert_eq!(bodies(&sql_header("/* /* */ -- a\nSELECT 1").lines), [" a"]);
    }

    #[test]
    fn later_comments_are_outside_strings_in_every_reading() {
        let text = "SELECT 'it''s\n-- a' ; -- b\nSELECT $x$\n-- c $y$ $x$; -- d\n\
                    /* \n-- e */ SELECT \"\n-- f\"; -- g";
        assert_eq!(bodies(&sql_comments_after(text, 0)), [" b", " d", " g"]);
        // The backslash decides: to PostgreSQL a comment, to MySQL part of the string.
        assert!(sql_comments_after("SELECT '\\'; -- a\n'", 0).is_empty());
        // The hash decides.
        assert!(sql_comments_after("SELECT 1; # it's\n-- a\n'", 0).is_empty());
    }

    #[test]
    fn program_headers_stop_at_code() {
        let header = program_header("#!/usr/bin/env node\n\n// a\nlet x;\n// b\n");
        assert_eq!(bodies(&header.lines), ["!/usr/bin/env node", " a"]);
        let text = "# a\nputs 1\n  # b\nputs 2 # c\n";
        let header = program_header(text);
        assert_eq!(bodies(&program_comments_after(text, header.end)), [" b"]);
        assert_eq!(bodies(&program_header("<?php\n// a\n").lines), [" a"]);
    }
}
