//! What operators have this instance do otherwise than it registered.
//!
//! An operator can set the curve of the warm-up, and whether notices are sent, while an instance runs: on the
//! instance itself or on the service as a whole. The registry then lists the instance with these words instead
//! of its own, and consumers go by the list. So the instance, which follows its own service, takes them over as
//! well: for when it is ready, for whom it tells that it leaves, and for what it tells of itself.

use super::process::Process;
use crate::model::{Instance, Metadata, WarmUp, key};
use crate::naming::Snapshots;
use crate::observe::ProviderEvent;

/// What can be set of the warm-up. What starts it cannot: mostly it has started already.
const CURVE: &[&str] = &[key::WARM_UP, key::WARM_UP_EXPONENT, key::WARM_UP_FLOOR];
/// What can be set of notices, where there are any.
const NOTICES: &[&str] = if cfg!(feature = "notice") { &[key::NOTICE] } else { &[] };

/// A word of the registry's list that is not the instance's own; nothing where the list has none.
type Order<'a> = (&'static str, Option<&'a str>);

/// Takes over what `list` says of the instance that was `registered`. Never resolves.
pub(super) async fn follow(process: &Process, registered: &Instance, mut list: Snapshots) {
    let (mut latest, settings) = (list.latest(), &process.settings);
    let mut before = registered.metadata.clone();
    loop {
        let listed = latest.get(&registered.key).filter(|listed| listed.epoch() == registered.epoch());
        if let Some(listed) = listed {
            for (key, word) in
                [CURVE, NOTICES].into_iter().flat_map(|keys| orders(keys, &before, &listed.metadata))
            {
                let (own, source) = (registered.metadata.get(key), latest.source(&registered.key, key));
                process.note(&ProviderEvent::SettingChanged { key, own, counts: word, source });
            }
            let curve = curve(settings.warm_up, &registered.metadata, &listed.metadata);
            process.warm_up.send_if_modified(|known| std::mem::replace(known, curve) != curve);
            #[cfg(feature = "notice")]
            {
                let notices = notices(settings.notices.wanted, &registered.metadata, &listed.metadata);
                process.notices.send_if_modified(|known| std::mem::replace(known, notices) != notices);
            }
            before = listed.metadata.clone();
        }
        latest = list.changed().await;
    }
}

/// The words of these `keys` that differ.
fn orders<'a>(
    keys: &'static [&'static str],
    before: &Metadata,
    listed: &'a Metadata,
) -> impl Iterator<Item = Order<'a>> {
    let differs = |key: &&'static str| before.get(key) != listed.get(key);
    let keys: Vec<_> = keys.iter().copied().filter(differs).collect();
    keys.into_iter().map(|key| (key, listed.get(key)))
}

/// The curve that holds: the process's own, unless the list has another one.
fn curve(own: WarmUp, registered: &Metadata, listed: &Metadata) -> WarmUp {
    match orders(CURVE, registered, listed).next() {
        Some(_) => WarmUp::from_metadata(listed).unwrap_or(own),
        None => own,
    }
}

/// Whether notices are sent: the process's own setting, unless the list has another one.
#[cfg(feature = "notice")]
fn notices(own: bool, registered: &Metadata, listed: &Metadata) -> bool {
    match orders(NOTICES, registered, listed).next() {
        Some(_) => listed.parse(key::NOTICE).unwrap_or(own),
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
            orders(CURVE, &shorter, &registered).map(|(key, _)| key).collect::<Vec<_>>(),
            [key::WARM_UP, key::WARM_UP_FLOOR]
        );
    }

    #[cfg(feature = "notice")]
    #[test]
    fn notices_are_sent_where_the_list_says_so_in_a_word_that_can_be_followed() {
        let (silent, sends) = (Metadata::new(), Metadata::new().with(key::NOTICE, true));
        assert!(notices(false, &silent, &sends));
        assert!(!notices(true, &sends, &silent.with(key::NOTICE, false)));
        assert!(notices(true, &sends, &sends) && !notices(false, &silent, &silent));
        for unclear in ["yes", ""] {
            assert!(!notices(false, &silent, &silent.with(key::NOTICE, unclear)), "{unclear:?}");
            assert!(notices(true, &sends, &sends.with(key::NOTICE, unclear)), "{unclear:?}");
        }
    }
}
