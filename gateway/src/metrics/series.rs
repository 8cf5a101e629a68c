//! Series by labels, made when first needed and never more than a bound: a name beyond it becomes `other`.
//!
//! Finding one takes no lock and allocates nothing.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

/// The values of a series' labels. The last is the one that could be many.
pub(super) type Labels<'a, const N: usize> = [Cow<'a, str>; N];

pub(super) struct Series<const N: usize, V> {
    all: ArcSwap<HashMap<Labels<'static, N>, Arc<V>>>,
}

/// Far above any configuration that a person reads, far below what hurts a Prometheus.
const MOST: usize = 512;
const OTHER: &str = "other";

impl<const N: usize, V> Series<N, V> {
    pub(super) fn new() -> Self {
        Self {
            all: ArcSwap::from_pointee(HashMap::new()),
        }
    }

    pub(super) fn get(&self, labels: [&str; N], make: impl Fn() -> V) -> Arc<V> {
        let mut key = labels.map(Cow::Borrowed);
        {
            let all = self.all.load();
            if let Some(found) = find(&all, &key) {
                return found.clone();
            }
            if all.len() >= MOST
                && let Some(last) = key.last_mut()
            {
                *last = Cow::Borrowed(OTHER);
                if let Some(found) = find(&all, &key) {
                    return found.clone();
                }
            }
        }
        let owned: Labels<'static, N> = key.map(|label| Cow::Owned(label.into_owned()));
        let made = Arc::new(make());
        // Two may add at once: the second sees the first's.
        self.all.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.entry(owned.clone()).or_insert_with(|| made.clone());
            all
        });
        find(&self.all.load(), &owned).unwrap_or(&made).clone()
    }

    /// All of them, in the order of their labels.
    pub(super) fn sorted(&self) -> Vec<(Labels<'static, N>, Arc<V>)> {
        let all = self.all.load();
        let mut sorted: Vec<_> = all
            .iter()
            .map(|(labels, value)| (labels.clone(), value.clone()))
            .collect();
        sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
        sorted
    }
}

/// The map lets its keys be shorter-lived than they are, so that a borrowed one can be looked up.
fn find<'m, 'k, const N: usize, V>(all: &'m HashMap<Labels<'k, N>, Arc<V>>, key: &Labels<'k, N>) -> Option<&'m Arc<V>> {
    all.get(key)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_same_labels_are_the_same_series() {
        let series: Series<2, AtomicU64> = Series::new();
        for model in ["a", "b", "a"] {
            series
                .get(["chat", model], AtomicU64::default)
                .fetch_add(1, Ordering::Relaxed);
        }
        let sorted = series.sorted();
        let counts: Vec<(&str, u64)> = sorted
            .iter()
            .map(|(labels, count)| (&*labels[1], count.load(Ordering::Relaxed)))
            .collect();
        assert_eq!(counts, [("a", 2), ("b", 1)]);
    }

    #[test]
    fn too_many_names_share_one() {
        let series: Series<1, AtomicU64> = Series::new();
        for name in 0..2 * MOST {
            series
                .get([&name.to_string()], AtomicU64::default)
                .fetch_add(1, Ordering::Relaxed);
        }
        let sorted = series.sorted();
        assert_eq!(sorted.len(), MOST + 1);
        let other = sorted
            .iter()
            .find(|(labels, _)| labels[0] == OTHER)
            .expect("it is there");
        assert_eq!(other.1.load(Ordering::Relaxed), MOST as u64);
    }
}
