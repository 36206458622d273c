//! Hears instances that leave, also those whose answers this consumer would not see.
//!
//! A consumer that calls often learns from the next answer that its sender leaves. One that calls every other
//! minute would learn it from the registry alone. With [`Notices`] it has an address of its own, which it
//! tells to instances that have `graceful.notice`, and they send a
//! [`Notice`](crate::naming::notice::Notice) there.
//!
//! - A notice counts only when it reveals the secret whose hash stands in the instance's registration, for
//!   the very address and epoch that are listed: nobody can turn off an instance of another, or the successor
//!   of his own.
//! - Its sender is put aside before the answer goes out, in the same way as by a tagged answer, in every
//!   balancer that was built with [`with_notices`](super::BalanceLayer::with_notices).
//! - A notice that comes again changes nothing. One that proves nothing is answered 403, counted, and changes
//!   nothing.
//!
//! | answer | when |
//! |---|---|
//! | 204 | the instance is aside, now or already |
//! | 400, 413, 408 | the body is no notice, longer than 4 KiB, or did not come within 2 s |
//! | 403 | no balancer lists such an instance, or the secret is not its own |
//! | 405 | not `POST` |
//! | 503 | more than 64 notices at once |
//!
//! On a port of its own:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let snapshots = tower_graceful::naming::Snapshots::fixed("orders".parse()?, Vec::new());
//! use tower_graceful::consumer::{BalanceLayer, NoticePort};
//! let port = NoticePort::bind("127.0.0.1:0".parse()?).await?;
//! let notices = port.notices();
//! let (close, closed) = tokio::sync::oneshot::channel::<()>();
//! let hearing = tokio::spawn(port.serve(async move { _ = closed.await }));
//!
//! let layer = BalanceLayer::new(snapshots).with_notices(&notices);
//! // ... until the application ends:
//! drop(close);
//! hearing.await?;
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Or as a route of the application's own server, which instances have to reach:
//!
//! ```
//! use tower_graceful::{consumer::Notices, naming::notice::PATH};
//! let notices = Notices::mounted("10.0.0.9:8080".parse()?);
//! let app = axum::Router::<()>::new().route_service(PATH, notices.clone());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod port;
mod service;
#[cfg(test)]
mod tests;

pub use port::{BindError, NoticePort};
pub use service::Notices;
