//! What has changed between two lists of a service, in words. Pure.

use std::collections::BTreeSet;
use std::fmt;
use tower_graceful::model::{Instance, InstanceKey, Snapshot, key};

/// What has become of an instance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) key: InstanceKey,
    pub(super) what: What,
    /// More about it, if there is more.
    pub(super) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It was listed when we began.
    There,
    Came,
    Went,
    /// Another process registers at the same address.
    Restarted,
    Enabled,
    Disabled,
    Healthy,
    Unhealthy,
    Weight,
    WarmUpStarted,
    Leaving,
    Metadata,
}

impl What {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Came => "came",
            Self::Went => "went",
            Self::Restarted => "restarted",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Weight => "weight",
            Self::WarmUpStarted => "warm-up-started",
            Self::Leaving => "leaving",
            Self::Metadata => "metadata",
        }
    }

    /// The events by which a registry of this crate says why.
    pub(super) const fn events(self) -> &'static [&'static str] {
        match self {
            Self::There => &[],
            Self::Came => &["came", "set"], // A disabled instance is on no list for consumers.
            Self::Went => &["went", "disabled"],
            Self::Restarted => &["came"],
            Self::Enabled | Self::Weight | Self::Metadata => &["set"],
            Self::Disabled => &["disabled"],
            Self::Healthy => &["became-healthy"],
            Self::Unhealthy => &["became-unhealthy"],
            Self::WarmUpStarted => &["warm-up-started"],
            Self::Leaving => &["leaving", "offline-ordered"],
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The instances that are there when one begins to look.
pub(super) fn there(list: &Snapshot) -> Vec<Change> {
    list.instances().iter().map(|one| change(one, What::There, described(one))).collect()
}

/// What leads from `before` to `after`, in the order of the instances.
pub(super) fn changes(before: &Snapshot, after: &Snapshot) -> Vec<Change> {
    let diff = after.diff(before);
    let went = diff.removed.iter().map(|one| change(one, What::Went, String::new()));
    let came = diff.added.iter().map(|one| change(one, What::Came, described(one)));
    let changed = diff.changed.iter().filter_map(|is| Some(of_one(before.get(&is.key)?, is)));
    let mut all: Vec<Change> = went.chain(came).chain(changed.flatten()).collect();
    all.sort_by(|a, b| a.key.cmp(&b.key)); // Stable: what has become of one stays in its order.
    all
}

fn of_one(was: &Instance, is: &Instance) -> Vec<Change> {
    if was.epoch() != is.epoch() {
        return vec![change(is, What::Restarted, described(is))];
    }
    let mut all = Vec::new();
    let mut note = |what, detail| all.push(change(is, what, detail));
    if was.enabled != is.enabled {
        note(if is.enabled { What::Enabled } else { What::Disabled }, String::new());
    }
    if was.healthy != is.healthy {
        note(if is.healthy { What::Healthy } else { What::Unhealthy }, String::new());
    }
    if was.weight != is.weight {
        note(What::Weight, format!("{} to {}", was.weight.as_f64(), is.weight.as_f64()));
    }
    let mut keys = differing(was, is);
    if keys.remove(key::WARM_UP_START) && is.metadata.get(key::WARM_UP_START).is_some() {
        note(What::WarmUpStarted, String::new());
    }
    if keys.remove(key::LEAVING) && is.leaving().is_some() {
        note(What::Leaving, String::new());
    }
    if !keys.is_empty() {
        note(What::Metadata, keys.into_iter().collect::<Vec<_>>().join(", "));
    }
    all
}

/// Keys of metadata that are not in both with one value.
fn differing<'a>(was: &'a Instance, is: &'a Instance) -> BTreeSet<&'a str> {
    let differs = |key: &&str| was.metadata.get(key) != is.metadata.get(key);
    was.metadata.iter().chain(is.metadata.iter()).map(|(key, _)| key).filter(differs).collect()
}

/// What is not as one expects of an instance.
fn described(one: &Instance) -> String {
    let weight = one.weight.as_f64();
    let words = [
        (!one.healthy).then(|| "unhealthy".to_owned()),
        (!one.enabled).then(|| "disabled".to_owned()),
        (weight != 1.0).then(|| format!("weight {weight}")),
        one.leaving().map(|_| "leaving".to_owned()),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn change(one: &Instance, what: What, detail: String) -> Change {
    Change { key: one.key.clone(), what, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_graceful::model::{Metadata, Weight};

    fn one(port: u16, metadata: &[(&str, &str)]) -> Instance {
        let metadata: Metadata = metadata.iter().copied().collect();
        Instance::new(format!("10.0.0.7:{port}").parse().unwrap()).with_metadata(metadata)
    }

    fn told(before: Vec<Instance>, after: Vec<Instance>) -> Vec<String> {
        let list = |instances| Snapshot::new("orders".parse().unwrap(), 1, instances);
        let all = changes(&list(before), &list(after));
        all.iter().map(|c| format!("{} {} {}", c.key.address.port(), c.what, c.detail)).collect()
    }

    #[test]
    fn whoever_comes_and_goes_is_told_by_address() {
        let after = vec![Instance { weight: Weight::new(2.5).unwrap(), ..one(2, &[]) }, one(3, &[])];
        assert_eq!(told(vec![one(1, &[]), one(3, &[])], after), ["1 went ", "2 came weight 2.5"]);
    }

    #[test]
    fn everything_that_becomes_of_one_instance_is_told() {
        let was = one(1, &[("graceful.epoch", "1"), ("zone", "a"), ("old", "x")]);
        let is = one(
            1,
            &[
                ("graceful.epoch", "1"),
                ("zone", "b"),
                ("graceful.warmup.start", "5"),
                ("graceful.leaving", "9;0"),
            ],
        );
        let is = Instance { healthy: false, enabled: false, weight: Weight::NONE, ..is };
        let expected = [
            "1 disabled ",
            "1 unhealthy ",
            "1 weight 1 to 0",
            "1 warm-up-started ",
            "1 leaving ",
            "1 metadata old, zone",
        ];
        assert_eq!(told(vec![was], vec![is]), expected);
    }

    #[test]
    fn another_process_at_the_same_address_is_a_restart_and_no_change_of_metadata() {
        let [was, is] = ["1", "2"].map(|epoch| one(1, &[("graceful.epoch", epoch)]));
        assert_eq!(told(vec![was], vec![is]), ["1 restarted "]);
    }
}
