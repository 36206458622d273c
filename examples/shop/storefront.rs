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
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
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
    Ok(report.report())
}

/// Everything but the front page is passed to `orders`.
pub fn router<S, B>(orders: S) -> Router
where
    S: Service<Request, Response = Response<B>, Future: Send> + Clone + Send + Sync + 'static,
    S::Error: Display,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let pass = async move |mut request: Request| {
        keep_what_passes(request.headers_mut());
        match orders.clone().oneshot(request).await {
            Ok(mut response) => {
                keep_what_passes(response.headers_mut());
                response.map(Body::new) // Never collected: a streamed answer passes as it comes.
            }
            Err(error) => (StatusCode::BAD_GATEWAY, format!("orders: {error}\n")).into_response(),
        }
    };
    Router::new()
        .route("/", get(async || "Ask for /orders/7, /slow?ms=500 or /stream?chunks=5.\n"))
        .fallback(pass)
}

/// Leaves the headers that are about the order. The others are about one connection, and there are two.
fn keep_what_passes(headers: &mut HeaderMap) {
    let passing = [CONTENT_TYPE, REQUEST_ID];
    *headers = passing.into_iter().filter_map(|name| Some((name.clone(), headers.remove(name)?))).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::CONNECTION;
    use std::io;
    use tower::service_fn;

    async fn ask<S>(orders: S) -> Response
    where
        S: Service<Request, Response = Response, Error = io::Error, Future: Send>,
        S: Clone + Send + Sync + 'static,
    {
        let request = Request::get("/orders/7").header(REQUEST_ID, "1").header(CONNECTION, "close");
        router(orders).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_about_one_connection_passes_in_neither_direction() {
        let orders = service_fn(async |request: Request| {
            let headers = request.headers();
            assert!(headers.contains_key(REQUEST_ID) && !headers.contains_key(CONNECTION));
            let answer = [(CONNECTION, "close"), (CONTENT_TYPE, "application/json")];
            Ok((answer, "{}").into_response())
        });
        let response = ask(orders).await;
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert!(!response.headers().contains_key(CONNECTION));
    }

    #[tokio::test]
    async fn what_orders_do_not_answer_is_a_bad_gateway_that_says_why() {
        let orders = service_fn(async |_| Err::<Response, _>(io::Error::other("nobody is there")));
        assert_eq!(ask(orders).await.status(), StatusCode::BAD_GATEWAY);
    }
}
