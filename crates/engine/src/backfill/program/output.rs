//! The lines that a row program writes, as they come through its pipe.

use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;

use super::Fault;
use super::answers::{Collector, Heard};

/// The longest line: one row's new values. Databases take texts of up to a gigabyte, but nobody
/// rewrites those row by row, and a program that forgets its line ends must not fill memory.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most that all answers to one chunk may come to, since they are held until its commit.
const CHUNK_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How much is read at once at least: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

pub(super) struct Output {
    stdout: ChildStdout,
    /// What was read and is not used up.
    buffer: Vec<u8>,
    /// How much of it holds no line end.
    searched: usize,
    line_number: u64,
    chunk_bytes: u64,
}

impl Output {
    pub(super) fn new(stdout: ChildStdout) -> Self {
        Self { stdout, buffer: Vec::new(), searched: 0, line_number: 0, chunk_bytes: 0 }
    }

    /// Lines that were read so far, those of earlier chunks too.
    pub(super) fn line_number(&self) -> u64 {
        self.line_number
    }

    /// Bytes of the lines that were read for the last chunk.
    pub(super) fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes
    }

    /// Begins a chunk. What is there before any row of it was sent is about rows of another.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        self.nothing_more()?;
        self.chunk_bytes = 0;
        Ok(())
    }

    /// Reads answers until the chunk's end.
    pub(super) async fn hear(&mut self, answers: &mut Collector<'_>) -> Result<(), Fault> {
        loop {
            if self.take_lines(answers).map_err(Fault::Wrong)? == Heard::End {
                // A long answer's room is wanted elsewhere by now.
                self.buffer.shrink_to(2 * READ_BYTES);
                return self.nothing_more().map_err(Fault::Wrong);
            }
            self.buffer.reserve(READ_BYTES);
            match self.stdout.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(Fault::OutputClosed),
                Ok(_) => {}
                Err(error) => return Err(Fault::Pipe(error)),
            }
        }
    }

    /// Reads and forgets everything, until the end.
    pub(super) async fn drain(&mut self) {
        loop {
            self.buffer.clear();
            self.buffer.reserve(READ_BYTES);
            match self.stdout.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Takes the whole lines in the buffer, up to the chunk's end.
    fn take_lines(&mut self, answers: &mut Collector<'_>) -> Result<Heard, String> {
        let mut begin = 0;
        let mut heard = Heard::Answer;
        while heard == Heard::Answer {
            let unsearched = &self.buffer[self.searched..];
            let Some(length) = unsearched.iter().position(|&byte| byte == b'\n') else {
                self.searched = self.buffer.len();
                break;
            };
            let end = self.searched + length;
            self.line_number += 1;
            self.chunk_bytes += (end + 1 - begin) as u64;
            self.check_size(end - begin, self.line_number)?;
            heard = answers
                .take(&self.buffer[begin..end])
                .map_err(|what| format!("line {} of its output {what}", self.line_number))?;
            begin = end + 1;
            self.searched = begin;
        }
        self.buffer.drain(..begin);
        self.searched -= begin;
        self.check_size(self.buffer.len(), self.line_number + 1)?;
        Ok(heard)
    }

    fn check_size(&self, line_bytes: usize, line_number: u64) -> Result<(), String> {
        if line_bytes > LINE_BYTES_MAX {
            return Err(format!(
                "line {line_number} of its output is longer than {} MiB",
                LINE_BYTES_MAX >> 20
            ));
        }
        if self.chunk_bytes > CHUNK_BYTES_MAX {
            return Err(format!(
                "its answers to one chunk come to more than {} MiB, by line {line_number} of its \
                 output: make chunks smaller with `chunk-rows`",
                CHUNK_BYTES_MAX >> 20
            ));
        }
        Ok(())
    }

    /// Nothing may follow a chunk's end: it would be taken for an answer to the next chunk.
    fn nothing_more(&self) -> Result<(), String> {
        // What has been written and not read is in the pipe. Where the system can't tell, a late
        // answer still fails, unless the next chunk holds the same row.
        let is_waiting = rustix::io::ioctl_fionread(&self.stdout).is_ok_and(|count| count > 0);
        if self.buffer.is_empty() && !is_waiting {
            return Ok(());
        }
        Err(format!(
            "line {} of its output belongs to no chunk: answers come before the chunk's own line is \
             given back",
            self.line_number + 1
        ))
    }
}
