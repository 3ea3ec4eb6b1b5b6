//! How fast something is to go, as it is typed: `workers=4`, `rate=2000/s`.

use crate::exit::CliError;
use crate::render;
use crate::render::backfill::grouped;

/// More workers than this would be more connections than servers have.
const WORKERS_MAX: u32 = 64;

/// What `set` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tempo {
    pub(crate) workers: Option<u32>,
    /// Rows a second; 0: no limit.
    pub(crate) rate: Option<u64>,
}

impl Tempo {
    /// `workers=4`, `rate=2000/s`; a rate may be written with a space, as in a header.
    pub(crate) fn parse(words: &[String]) -> Result<Self, CliError> {
        let mut settings = Self::default();
        let joined = words.join(" ");
        let mut written: Vec<(String, String)> = Vec::new();
        for word in joined.split_whitespace() {
            match (word.split_once('='), written.last_mut()) {
                (Some((name, value)), _) => written.push((name.to_owned(), value.to_owned())),
                (None, Some((_, value))) => {
                    value.push(' ');
                    value.push_str(word);
                }
                (None, None) => return Err(unknown(word)),
            }
        }
        for (name, value) in &written {
            let value = value.trim();
            match name.as_str() {
                "workers" => {
                    let count =
                        value.parse().ok().filter(|count| (1..=WORKERS_MAX).contains(count));
                    settings.workers = Some(count.ok_or_else(|| {
                        CliError::usage(
                            format!("`{value}` is no number of workers"),
                            format!("write workers=N, with N from 1 to {WORKERS_MAX}"),
                        )
                    })?);
                }
                "rate" => {
                    settings.rate = Some(rate(value).ok_or_else(|| {
                        CliError::usage(
                            format!("`{value}` is no rate"),
                            "write rate=2000/s, for 2000 rows a second, or rate=off",
                        )
                    })?);
                }
                other => return Err(unknown(other)),
            }
        }
        Ok(settings)
    }

    /// As people are told of it.
    pub(crate) fn told(self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.workers.map(|count| render::count(count as usize, "worker")));
        parts.extend(self.rate.map(|rate| match rate {
            0 => "no fixed rate".to_owned(),
            rate => format!("at most {} rows/s", grouped(rate)),
        }));
        parts.join(" and ")
    }
}

fn unknown(word: &str) -> CliError {
    CliError::usage(
        format!("`{word}` can't be set"),
        "what can be set: workers=4, rate=2000/s, rate=off",
    )
}

/// `2000`, `2000/s`, `2000 rows/s`; `off` is 0.
pub(crate) fn rate(text: &str) -> Option<u64> {
    if text == "off" {
        return Some(0);
    }
    let number = text.strip_suffix("/s").unwrap_or(text).trim_end();
    let number = number.strip_suffix("rows").unwrap_or(number).trim_end();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|rate| digits && *rate > 0 && i64::try_from(*rate).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Tempo> {
        Tempo::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>()).ok()
    }

    #[test]
    fn settings_as_they_are_typed() {
        let rate = |rate| Some(Tempo { workers: None, rate: Some(rate) });
        for text in ["rate=2000", "rate=2000/s", "rate=2000 rows/s", "rate=2000rows/s"] {
            assert_eq!(parsed(text), rate(2000), "{text}");
        }
        assert_eq!(parsed("rate=off"), rate(0));
        assert_eq!(
            parsed("workers=4 rate=1 rows/s"),
            Some(Tempo { workers: Some(4), rate: Some(1) })
        );
        assert_eq!(
            parsed("rate=5 rows/s workers=64"),
            Some(Tempo { workers: Some(64), rate: Some(5) })
        );
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "workers=0",
            "workers=65",
            "workers=-1",
            "workers=",
            "workers",
            "rate=0",
            "rate=fast",
            "rate=+5",
            "rate=1.5",
            "rate=99999999999999999999",
            "speed=4",
            "rows/s",
            "rate=5/min",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
