//! Many services through one client: the host of a request's URI says which.
//!
//! [`GracefulClients`] makes a [`GracefulClient`](super::GracefulClient) for each service when it is first
//! called, all over one HTTP client, and is itself a service: `http://orders/7` goes to an instance of
//! `orders`, `http://payments/` to one of `payments`.
//!
//! - The first call to a service subscribes to it; calls that come meanwhile wait for the same subscription.
//!   Each waits 5 s at most. A subscription that failed is tried anew by the next call.
//! - Later calls look the service up without a lock, and cost nothing else.
//! - The services are bounded, 256 by default. One that was not called for five to ten minutes is given up
//!   when another is called for the first time; when there is no room, so are those of which no instance is
//!   listed. Calls under way go on.
//! - What cannot be given to a service fails as [`Unresolved`], and was not sent.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use http::{Request, Response};
//! use tower::{Service, service_fn};
//! use tower_graceful::consumer::GracefulClients;
//! use tower_graceful::model::Instance;
//! use tower_graceful::naming::{InProcess, Register};
//!
//! let naming = InProcess::new();
//! naming.register(&"orders".parse()?, &Instance::new("10.0.0.7:8080".parse()?)).await?;
//! naming.register(&"payments".parse()?, &Instance::new("10.0.0.8:8080".parse()?)).await?;
//!
//! // In earnest this is `http_client()`: whatever dials the URI of a request.
//! let client = service_fn(async |request: Request<_>| {
//!     Ok::<_, std::io::Error>(Response::new(request.uri().to_string()))
//! });
//! let mut services = GracefulClients::new(naming, client);
//! let order = services.call(Request::get("http://orders/7").body(String::new())?).await?;
//! assert_eq!(order.body().get_ref(), "http://10.0.0.7:8080/7");
//! let payment = services.call(Request::get("http://payments/").body(String::new())?).await?;
//! assert_eq!(payment.body().get_ref(), "http://10.0.0.8:8080/");
//! # Ok::<(), tower_graceful::consumer::BoxError>(()) })?;
//! # Ok::<(), tower_graceful::consumer::BoxError>(())
//! ```

mod directory;
mod error;
mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use error::{Reason, Unresolved};
pub use layer::GracefulClientsLayer;
pub use service::{GracefulClients, ResponseFuture};
