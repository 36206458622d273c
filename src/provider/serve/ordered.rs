//! What operators have this instance do otherwise than it registered.
//!
//! An operator can set the curve of the warm-up while an instance runs, on the instance itself or on the
//! service as a whole; the registry then lists the instance with these words instead of its own, and
//! consumers choose by the list. So the instance, which follows its own service, takes them over as well: for
//! when it is ready, and for what it tells of itself.

use super::process::Process;
use crate::model::{Instance, Metadata, WarmUp, key};
use crate::naming::Snapshots;

/// What can be set while an instance runs. What starts its warm-up cannot: mostly it has started already.
const FOLLOWED: [&str; 3] = [key::WARM_UP, key::WARM_UP_EXPONENT, key::WARM_UP_FLOOR];

/// A word of the registry's list that is not the instance's own; nothing where the list has none.
type Order<'a> = (&'static str, Option<&'a str>);

/// Takes over what `list` says of the instance that was `registered`. Never resolves.
pub(super) async fn follow(process: &Process, registered: &Instance, mut list: Snapshots) {
    let mut latest = list.latest();
    let mut before = registered.metadata.clone();
    loop {
        let listed = latest.get(&registered.key).filter(|listed| listed.epoch() == registered.epoch());
        if let Some(listed) = listed {
            for (key, word) in orders(&before, &listed.metadata) {
                tell(key, registered.metadata.get(key), word);
            }
            let curve = curve(process.settings.warm_up, &registered.metadata, &listed.metadata);
            process.warm_up.send_if_modified(|known| std::mem::replace(known, curve) != curve);
            before = listed.metadata.clone();
        }
        latest = list.changed().await;
    }
}

/// Says whose word counts from now on.
fn tell(key: &'static str, own: Option<&str>, listed: Option<&str>) {
    if own == listed {
        tracing::info!(key, own, "this process's own setting counts again");
    } else {
        tracing::info!(
            key,
            own,
            listed,
            "what the registry lists counts more than this process's own setting"
        );
    }
}

/// The words that differ.
fn orders<'a>(before: &Metadata, listed: &'a Metadata) -> impl Iterator<Item = Order<'a>> {
    let differs = |key: &&'static str| before.get(key) != listed.get(key);
    let keys: Vec<_> = FOLLOWED.into_iter().filter(differs).collect();
    keys.into_iter().map(|key| (key, listed.get(key)))
}

/// The curve that holds: the process's own, unless the list has another one.
fn curve(own: WarmUp, registered: &Metadata, listed: &Metadata) -> WarmUp {
    match orders(registered, listed).next() {
        Some(_) => WarmUp::from_metadata(listed).unwrap_or(own),
        None => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_list_counts_more_where_it_differs_and_what_cannot_be_followed_changes_nothing() {
        let own = WarmUp::new(Duration::from_secs(600)).unwrap();
        let registered: Metadata = own.to_metadata().into_iter().collect();
        let of = |listed: &Metadata| curve(own, &registered, listed);
        assert_eq!(of(&registered), own);
        assert_eq!(of(&registered.with(key::WARM_UP_CLOCK, "registration").with("zone", "a")), own);
        let shorter = registered.with(key::WARM_UP, 60).with(key::WARM_UP_FLOOR, 0.2);
        assert_eq!(of(&shorter).window(), Duration::from_secs(60));
        assert_eq!(
            of(&shorter).with_floor(0.01).unwrap().with_exponent(2.0),
            WarmUp::new(Duration::from_secs(60))
        );
        assert_eq!(of(&registered.with(key::WARM_UP, "soon")), own);
        assert_eq!(of(&Metadata::new()), own);
        assert_eq!(
            orders(&shorter, &registered).map(|(key, _)| key).collect::<Vec<_>>(),
            [key::WARM_UP, key::WARM_UP_FLOOR]
        );
    }
}
