//! In which order processes are started and stopped. Pure: names and priorities in, batches out.
//! Not here: waiting for a batch to be down (see `brain::shutdown`), or what starting means.

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

/// Which of the remaining items to stop now: those of the highest priority. The next batch follows once they are gone.
pub fn stop_batch<T, P: Ord>(remaining: Vec<T>, priority: impl Fn(&T) -> P) -> Vec<T> {
    let Some(highest) = remaining.iter().map(&priority).max() else {
        return Vec::new();
    };
    remaining
        .into_iter()
        .filter(|item| priority(item) == highest)
        .collect()
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
            let batch = stop_batch(remaining.clone(), |item| item.1);
            remaining.retain(|item| !batch.contains(item));
            batches.push(batch.iter().map(|item| item.0).collect::<Vec<_>>());
        }
        assert_eq!(batches, [vec!["cron"], vec!["web", "api"], vec!["db"]]);
        assert_eq!(stop_batch(Vec::<(&str, i32)>::new(), |item| item.1), []);
    }
}
