//! The storefront: a consumer of orders that serves people, and itself starts and leaves gracefully.
//!
//! ```console
//! $ cargo run --features full --example shop -- storefront --registry 127.0.0.1:8848 --listen 127.0.0.1:8080
//! $ curl 127.0.0.1:8080/orders/7
//! {"id":"7","instance":"127.0.0.1:40123","release":"v1"}
//! ```
//!
//! Ask again and see the instances of orders take turns; stop one and see that nobody notices.

use super::goods::REQUEST_ID;
use super::process::BoxError;
use super::serving::{Flags, bound};
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::fmt::Display;
use std::process::{ExitCode, Termination};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_graceful::consumer::{GracefulClientLayer, http_client};
use tower_graceful::provider::Provider;

/// Serves people until it is told to go; 0 when nothing had to be cut then.
///
/// # Errors
/// When a port is taken, or the registry cannot be asked for orders.
pub async fn run(flags: &Flags) -> Result<ExitCode, BoxError> {
    let nacos = flags.nacos("storefront")?;
    let orders = ServiceBuilder::new()
        .layer(GracefulClientLayer::new(nacos.subscribe("orders").await?).with_app("storefront"))
        .service(http_client());

    let listener = TcpListener::bind(flags.listen).await?;
    let provider = Provider::builder("storefront")
        .registry(nacos.clone())
        .warm_up(flags.warm_up)
        .readiness_bind(flags.readiness)
        .offline_bind(flags.offline)
        .build()?;
    let ready = bound(provider.handle());
    let report = flags.told(ready, None, provider.serve(listener, router(orders))).await??;
    eprintln!("{report}");
    Ok(report.report())
}

/// Everything but the front page is passed to `orders`.
pub fn router<S, B>(orders: S) -> Router
where
    S: Service<Request, Response = Response<B>, Future: Send> + Clone + Send + Sync + 'static,
    S::Error: Display,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let pass = async move |request: Request| match orders.clone().oneshot(to_orders(request)).await {
        Ok(response) => response.map(Body::new), // Never collected: a streamed answer passes as it comes.
        Err(error) => (StatusCode::BAD_GATEWAY, format!("orders: {error}\n")).into_response(),
    };
    Router::new()
        .route("/", get(async || "Ask for /orders/7, /slow?ms=500 or /stream?chunks=5.\n"))
        .fallback(pass)
}

/// The same request, with the headers that are meant for orders.
fn to_orders(request: Request) -> Request {
    let (mut head, body) = request.into_parts();
    let meant = [CONTENT_TYPE, REQUEST_ID];
    head.headers =
        meant.into_iter().filter_map(|name| Some((name.clone(), head.headers.remove(name)?))).collect();
    Request::from_parts(head, body)
}
