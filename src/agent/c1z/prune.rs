//! Selects the syncs that a file keeps.

/// The properties of a sync that decide whether it is kept.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) started_at: String,
    /// `None` for an unfinished sync, which is always kept because a run may resume it.
    pub(super) ended_at: Option<String>,
    pub(super) partner: String,
}

/// Returns the ids of the syncs to remove: full syncs beyond the newest `keep`, then partial and resources-only
/// syncs that ended before the newest removed full sync began, then the halves of comparisons except the latest
/// and its partner.
pub(super) fn dropped(syncs: &[Candidate], keep: usize) -> Vec<String> {
    let finished = |kinds: &[&str]| {
        let mut found: Vec<&Candidate> = syncs
            .iter()
            .filter(|sync| sync.ended_at.is_some() && kinds.contains(&sync.kind.as_str()))
            .collect();
        found.sort_by_key(|sync| (&sync.ended_at, &sync.id));
        found
    };
    let full = finished(&["full"]);
    let gone = full.get(..full.len().saturating_sub(keep.max(1))).unwrap_or_default();
    let mut dropped: Vec<String> = gone.iter().map(|sync| sync.id.clone()).collect();
    if let Some(newest) = gone.last() {
        let before = finished(&["partial", "resources_only"])
            .into_iter()
            .filter(|sync| sync.ended_at.as_ref().is_some_and(|ended| *ended < newest.started_at));
        dropped.extend(before.map(|sync| sync.id.clone()));
    }
    let halves = finished(&["partial_upserts", "partial_deletions"]);
    if let Some(latest) = halves.last().filter(|_| halves.len() > 2) {
        let others = halves.iter().filter(|sync| sync.id != latest.id && sync.id != latest.partner);
        dropped.extend(others.map(|sync| sync.id.clone()));
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync(id: &str, kind: &str, started: &str, ended: Option<&str>) -> Candidate {
        Candidate {
            id: id.into(),
            kind: kind.into(),
            started_at: started.into(),
            ended_at: ended.map(str::to_owned),
            partner: String::new(),
        }
    }

    #[test]
    fn removes_full_syncs_beyond_the_limit_and_earlier_partial_syncs() {
        let syncs = [
            sync("p0", "partial", "00", Some("005")),
            sync("f1", "full", "01", Some("02")),
            sync("p1", "resources_only", "02", Some("025")),
            sync("u", "full", "026", None),
            sync("f2", "full", "03", Some("04")),
            sync("p2", "partial", "035", Some("036")),
            sync("f3", "full", "05", Some("06")),
            sync("f4", "full", "07", Some("08")),
        ];
        assert_eq!(dropped(&syncs, 2), ["f1", "f2", "p0", "p1"]);
        assert_eq!(dropped(&syncs, 4), Vec::<String>::new());
        assert_eq!(dropped(&syncs, 0).len(), 6);
    }

    #[test]
    fn keeps_both_halves_of_the_latest_comparison() {
        let half = |id: &str, ended: &str, partner: &str| Candidate {
            partner: partner.into(),
            ..sync(id, "partial_upserts", "0", Some(ended))
        };
        let two = [half("a", "1", "b"), half("b", "2", "a")];
        assert!(dropped(&two, 2).is_empty());
        let four = [half("a", "1", "b"), half("b", "2", "a"), half("c", "3", "d"), half("d", "4", "c")];
        assert_eq!(dropped(&four, 2), ["a", "b"]);
    }
}
