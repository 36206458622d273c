//! The registry's login, played by a test: it lets in who knows the password, and counts them.

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::time::sleep;

/// The only path at which this gate is: that of older registries.
const PATH: &str = "/nacos/v1/auth/login";

/// Where users log in; a clone is the same gate.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Rules>>);

/// What the gate does.
pub(crate) struct Rules {
    pub(crate) password: &'static str,
    pub(crate) ttl_s: u64,
    /// How long it takes to say so.
    pub(crate) takes: Duration,
    /// What it answers whoever knows the password, where it does not let them in.
    pub(crate) broken: bool,
    /// Who has been let in; the tokens are `t1`, `t2` and so on.
    pub(crate) let_in: usize,
    pub(crate) refused: usize,
}

impl Default for Rules {
    fn default() -> Self {
        let (ttl_s, takes) = (18_000, Duration::ZERO);
        Self { password: "s3cret &+", ttl_s, takes, broken: false, let_in: 0, refused: 0 }
    }
}

impl Gate {
    pub(crate) fn rules(&self) -> MutexGuard<'_, Rules> {
        self.0.lock().unwrap()
    }

    /// Answers on one connection.
    pub(super) fn open(&self, io: DuplexStream) {
        let gate = self.clone();
        let answer = service_fn(move |request| {
            let gate = gate.clone();
            async move { Ok::<_, Infallible>(gate.answer(request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(io), answer));
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let form = request.into_body().collect().await.unwrap().to_bytes();
        let takes = self.rules().takes;
        sleep(takes).await;
        let (status, text) = if path == PATH { self.rules().judge(&form) } else { (404, "{}".to_owned()) };
        Response::builder().status(status).body(Full::from(text)).unwrap()
    }
}

impl Rules {
    fn judge(&mut self, form: &[u8]) -> (u16, String) {
        let password = self.password.replace(' ', "%20").replace('&', "%26").replace('+', "%2B");
        if form != format!("username=orders&password={password}").as_bytes() {
            self.refused += 1;
            return (403, "unknown user!".to_owned());
        }
        if self.broken {
            return (500, "caused: no disk".to_owned());
        }
        self.let_in += 1;
        let (number, ttl) = (self.let_in, self.ttl_s);
        (200, format!(r#"{{"accessToken":"t{number}","tokenTtl":{ttl},"globalAdmin":false}}"#))
    }
}
