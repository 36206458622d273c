//! A registry with moods.

use super::*;

/// A registry that can be away, refuse for ever, or fail to answer a deregistration.
#[derive(Clone, Debug)]
pub(super) struct Moody {
    pub(super) naming: InProcess,
    pub(super) mood: watch::Sender<Mood>,
    pub(super) asked: Arc<AtomicU64>,
    pub(super) deregistered: Arc<AtomicU64>,
    /// Registrations under way.
    pub(super) registering: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mood {
    Well,
    Away,
    NeverAgain,
    Refusing,
    Deaf,
}

impl Moody {
    pub(super) fn new(mood: Mood) -> Self {
        Self {
            naming: InProcess::new(),
            mood: watch::Sender::new(mood),
            asked: Arc::default(),
            deregistered: Arc::default(),
            registering: Arc::default(),
        }
    }

    async fn judge(&self) -> Result<(), naming::Error> {
        let mood = *self.mood.borrow();
        match mood {
            Mood::Well => Ok(()),
            Mood::Away => Err(naming::Error::Unavailable {
                tried: "register".to_owned(),
                source: Arc::new(std::io::Error::other("connection refused")),
            }),
            Mood::NeverAgain => Err(naming::Error::Invalid { message: "metadata too long".to_owned() }),
            Mood::Refusing => {
                Err(naming::Error::Refused { code: 500, message: "no such namespace".to_owned() })
            }
            Mood::Deaf => pending().await,
        }
    }
}

/// Counts a registration as over when it goes out of scope.
struct Over(Arc<AtomicU64>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Register for Moody {
    fn register<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a Instance,
    ) -> BoxFuture<'a, Result<(), naming::Error>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.registering.fetch_add(1, Ordering::SeqCst);
        let over = Over(self.registering.clone());
        Box::pin(async move {
            let _over = over;
            self.judge().await?;
            self.naming.register(service, instance).await
        })
    }

    fn deregister<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a InstanceKey,
    ) -> BoxFuture<'a, Result<(), naming::Error>> {
        self.deregistered.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            self.judge().await?;
            self.naming.deregister(service, instance).await
        })
    }
}

impl Subscribe for Moody {
    fn subscribe<'a>(&'a self, service: &'a ServiceKey) -> BoxFuture<'a, Result<Snapshots, naming::Error>> {
        self.naming.subscribe(service)
    }
}
