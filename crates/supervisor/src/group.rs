//! In which order processes are started and stopped. Pure: names, priorities and needs in, batches out.
//! Not here: waiting for a batch to be down (see `brain::shutdown`), or what starting means.

use std::collections::{BTreeMap, BTreeSet};

/// By what processes are put in order: the group's priority first, then their own, names only so that the order is
/// always the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    pub group_priority: i32,
    pub priority: i32,
    pub group: String,
    pub name: String,
}

/// Start order: lower priority first, then by name; all are started without waiting for one another.
pub fn start_order<T>(mut items: Vec<T>, rank: impl Fn(&T) -> Rank) -> Vec<T> {
    items.sort_by_key(|item| rank(item));
    items
}

/// Which of the remaining items to stop now: of those that nobody else remaining needs, the ones of the highest
/// priority. The next batch follows once they are gone.
pub fn stop_batch<T, P: Ord>(
    remaining: Vec<T>,
    priority: impl Fn(&T) -> P,
    needs: impl Fn(&T, &T) -> bool,
) -> Vec<T> {
    let is_free = |item: &T| !remaining.iter().any(|other| needs(other, item));
    let free: Vec<bool> = remaining.iter().map(is_free).collect();
    let ranked = remaining.iter().zip(&free);
    let highest = ranked
        .filter(|(_, free)| **free)
        .map(|(item, _)| priority(item))
        .max();
    let together = remaining.into_iter().zip(free);
    together
        .filter(|(item, free)| *free && Some(priority(item)) == highest)
        .map(|(item, _)| item)
        .collect()
}

/// A circle among those that wait for others, if there is one: its members, the first one again at the end.
#[must_use]
pub fn circle<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in edges.keys().copied() {
        // The way to where we are, with what is still to be tried from each place.
        let mut way: Vec<(&str, &[&str])> =
            vec![(start, edges.get(start).map_or(&[], Vec::as_slice))];
        while let Some((at, rest)) = way.last_mut() {
            let Some((next, more)) = rest.split_first() else {
                done.insert(at);
                way.pop();
                continue;
            };
            *rest = more;
            if let Some(first) = way.iter().position(|(place, _)| place == next) {
                let members = way[first..].iter().map(|(place, _)| *place);
                return Some(members.chain([*next]).collect());
            }
            if !done.contains(next) {
                way.push((next, edges.get(next).map_or(&[], Vec::as_slice)));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(item: &(&'static str, i32)) -> Rank {
        Rank {
            group_priority: 999,
            priority: item.1,
            group: item.0.to_owned(),
            name: item.0.to_owned(),
        }
    }

    #[test]
    fn starts_by_priority_then_name_and_stops_in_reverse() {
        let items = vec![("web", 10), ("db", 1), ("api", 10), ("cron", 999)];
        let order: Vec<_> = start_order(items.clone(), rank)
            .into_iter()
            .map(|item| item.0)
            .collect();
        assert_eq!(order, ["db", "api", "web", "cron"]);

        let mut remaining = items;
        let mut batches = Vec::new();
        while !remaining.is_empty() {
            let batch = stop_batch(remaining.clone(), |item| item.1, |_, _| false);
            remaining.retain(|item| !batch.contains(item));
            batches.push(batch.iter().map(|item| item.0).collect::<Vec<_>>());
        }
        assert_eq!(batches, [vec!["cron"], vec!["web", "api"], vec!["db"]]);
        assert_eq!(
            stop_batch(Vec::<(&str, i32)>::new(), |item| item.1, |_, _| false),
            []
        );
    }

    #[test]
    fn what_is_needed_stops_last_whatever_its_priority() {
        let all = vec![("db", 999), ("web", 1), ("cron", 5)];
        let batch = stop_batch(
            all,
            |item| item.1,
            |who, whom| (who.0, whom.0) == ("web", "db"),
        );
        assert_eq!(batch, [("cron", 5)]);
        let rest = vec![("db", 999), ("web", 1)];
        let batch = stop_batch(
            rest,
            |item| item.1,
            |who, whom| (who.0, whom.0) == ("web", "db"),
        );
        assert_eq!(batch, [("web", 1)]);
    }

    #[track_caller]
    fn check(edges: &[(&'static str, &[&'static str])], want: &str) {
        let edges = edges
            .iter()
            .map(|(from, to)| (*from, to.to_vec()))
            .collect();
        let got = circle(&edges).map_or_else(String::new, |members| members.join(" "));
        assert_eq!(got, want);
    }

    #[test]
    fn circles() {
        check(&[], "");
        check(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])], "");
        check(&[("a", &["a"])], "a a");
        check(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])], "b c b");
        check(
            &[("a", &["d"]), ("b", &["c"]), ("c", &["d", "b"]), ("d", &[])],
            "b c b",
        );
    }
}
