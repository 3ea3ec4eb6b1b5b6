//! "Did you mean …?"

/// The candidate that a person most likely meant, if one is near enough.
pub(crate) fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let folded = fold(written);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| {
            // A third of the letters may be wrong: beyond that a suggestion only misleads.
            *distance <= (candidate.chars().count() / 3).max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean …`, or else the list of what there is.
pub(crate) fn help<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest(written, candidates.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", list(candidates)),
    }
}

/// `a`, `b` and `c`, each in backquotes.
pub(crate) fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = items.into_iter().map(|item| format!("`{item}`")).collect();
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// Case and the choice between `-`, `_` and a space are never what makes two words different.
fn fold(word: &str) -> String {
    word.to_lowercase().replace(['_', ' '], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let words = ["lock-timeout", "statement-timeout", "after", "manual"];
        assert_eq!(nearest("lock_timeout", words), Some("lock-timeout"));
        assert_eq!(nearest("Lock-Timout", words), Some("lock-timeout"));
        assert_eq!(nearest("afer", words), Some("after"));
        assert_eq!(nearest("banana", words), None);
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(list([]), "none");
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
