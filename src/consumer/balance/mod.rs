//! Chooses an instance for every request, in `call`, among services of which there is one per instance.
//!
//! [`Balance::new`] makes those services with a function of yours: a client that dials that instance, a
//! tonic `Channel`, a test double. [`BalanceLayer`] is the same over one HTTP client that dials whatever the
//! URI names; see there what becomes of the service's own name.
//!
//! - It is always ready: instead of holding requests back it chooses in `call`, and waits for the chosen
//!   service inside the response's future.
//! - A clone costs one reference count and shares everything; a call allocates nothing.
//! - While there is no instance, a call waits for the first one, up to a bound.
//! - An instance that no connection can be made to is put aside for a wait, from 1 s to 30 s as failures follow
//!   one another; after each wait one request tries it again. When all are failing, all are used. What says
//!   that there was no connection is [`is_connect`](super::classify::is_connect).
//! - [`Balance::view`] shows what it makes of each instance, and why.
//! - The body of an answer counts as a call in flight until it is dropped, and an error names its instance.
//! - Instances that wear our layers are told who calls, with the header
//!   [`CALLER`](crate::naming::header::CALLER); from requests to others it is removed.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use http::{Request, Response};
//! use tower::{Service, service_fn};
//! use tower_graceful::consumer::Balance;
//! use tower_graceful::{model::Instance, naming::Snapshots};
//!
//! let instances = vec![Instance::new("10.0.0.7:8080".parse()?), Instance::new("10.0.0.8:8080".parse()?)];
//! let snapshots = Snapshots::fixed("orders".parse()?, instances);
//! let mut orders = Balance::new(snapshots, |instance| {
//!     let address = instance.address().to_string();
//!     service_fn(move |_: Request<()>| {
//!         let address = address.clone();
//!         async move { Ok::<_, std::io::Error>(Response::new(address)) }
//!     })
//! });
//! let answer = orders.call(Request::new(())).await?;
//! assert_eq!(answer.body().get_ref(), &answer.body().instance().address().to_string());
//! # Ok::<(), tower_graceful::consumer::BoxError>(()) })?;
//! # Ok::<(), tower_graceful::consumer::BoxError>(())
//! ```

mod body;
mod caller;
mod dial;
mod future;
mod layer;
mod pick;
mod ready;
mod service;
#[cfg(test)]
mod tests;
mod view;

pub use body::ResponseBody;
pub use dial::Dial;
pub use future::ResponseFuture;
pub use layer::BalanceLayer;
pub use pick::Pick;
pub use service::Balance;
pub use view::{InstanceView, State, View};
