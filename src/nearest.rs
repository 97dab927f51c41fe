//! Suggestions for misspelled names.

/// The known name that is closest to `given`: the fewest letters to insert, delete, replace or swap with
/// their neighbor. `limit` is the most differences for a known name. Of several equally close names, the
/// first is returned.
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
    limit: impl Fn(&str) -> usize,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::osa_distance(given, known), known))
        .filter(|(distance, known)| *distance <= limit(known))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_the_closest_name_within_the_limit() {
        let known = ["listen", "lists", "log-level"];
        assert_eq!(nearest("listne", known, |_| 2), Some("listen"));
        assert_eq!(nearest("list", known, |_| 2), Some("lists"));
        assert_eq!(nearest("listne", known, |_| 0), None);
        assert_eq!(nearest("loglevel", known, |known| known.len() / 4), Some("log-level"));
    }
}
