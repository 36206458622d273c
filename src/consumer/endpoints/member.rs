//! One instance as a consumer has come to know it: what is listed of it, and how old it is.

use super::aside::{Aside, Tombstone};
use super::bound::Part;
use super::endpoint::{Endpoint, Fleet};
use super::fade::Fade;
use super::seat::Seats;
use super::since::{News, Since};
use super::table::Slot;
use crate::model::{Instance, UnixMillis, WarmUp, WarmUpAge};
use std::sync::Arc;
use tokio::time::Instant;

/// Someone on the list.
pub(super) struct Member<S> {
    pub(super) listed: Instance,
    pub(super) seats: Arc<Seats>,
    pub(super) service: S,
    pub(super) curve: Option<WarmUp>,
    /// When the ramp ends, once it has begun; an age beyond every clock has ended long ago.
    pub(super) warm_at: Option<Instant>,
    pub(super) life: Life,
}

/// What has begun for an instance, as far as the registry tells.
#[derive(Clone, Copy, Default)]
pub(super) struct Life {
    pub(super) warm_up: Option<Since>,
    pub(super) leaving: Option<Fade>,
}

/// A list as it was heard.
#[derive(Clone, Copy)]
pub(super) struct Heard<'a> {
    pub(super) news: News,
    pub(super) wall: UnixMillis,
    pub(super) fleet: &'a Arc<Fleet>,
}

impl<S: Clone> Member<S> {
    pub(super) fn renewed(mut self, listed: &Instance, heard: Heard<'_>) -> Self {
        let warm_up = listed.warm_up(heard.wall);
        self.curve = warm_up.map(|(curve, _)| curve);
        self.life.warm_up = self.life.warm_up.or_else(|| match warm_up?.1 {
            WarmUpAge::NotStarted => None,
            WarmUpAge::Running(told) => Some(Since::heard(told, heard.news)),
        });
        self.warm_at = self.life.warm_up.zip(self.curve).and_then(|(begun, it)| begun.at_age(it.window()));
        let known = self.life.leaving.map(Fade::since);
        self.life.leaving = listed.leaving().map(|leaving| {
            let told = heard.wall.since(leaving.since);
            Fade::new(known.unwrap_or_else(|| Since::heard(told, heard.news)), leaving.fade)
        });
        self.seats.renew(listed);
        self.listed = listed.clone();
        self
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        self.seats.endpoint()
    }

    pub(super) fn tombstone(&self, aside: &Aside, now: Instant) -> Option<Tombstone> {
        aside.against(self.listed.address(), self.endpoint().epoch(), now)
    }

    /// Its way out, by its own answers or by its registration.
    pub(super) fn fade(&self, tombstone: Option<Tombstone>) -> Option<Fade> {
        let told = tombstone.map(|tombstone| tombstone.fade);
        match (told, self.life.leaving) {
            (Some(said), Some(listed)) => Some(said.sooner(listed)),
            (said, listed) => said.or(listed),
        }
    }

    pub(super) fn slot(&self) -> Slot<S> {
        Slot { seats: self.seats.clone(), service: self.service.clone() }
    }

    pub(super) fn part(&self, presence: f64, now: Instant) -> Part {
        let age = self.life.warm_up.map_or(WarmUpAge::NotStarted, |begun| WarmUpAge::Running(begun.age(now)));
        let factor = self.curve.map_or(1.0, |curve| curve.factor(age));
        Part { full: self.listed.weight.as_f64() * presence, factor }
    }
}
