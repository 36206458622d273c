//! A browser of one's own, driven over `WebDriver`: the few commands that what people do comes down to.
//!
//! Chromedriver listens on a port that the system chooses. It hangs on a leash: whatever way this process ends,
//! its standard input ends with it, and the shell that reads that input then ends chromedriver by its process
//! id; the browser in turn hangs on a pipe to chromedriver. After [`LEASH_MAX`] both end in any case.

use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Browsers at once: each is worth a core while a page is drawn.
static PLACES: Semaphore = Semaphore::const_new(2);
/// Longest life of a browser: more than any test takes that does not hang.
const LEASH_MAX: Duration = Duration::from_secs(300);
/// From start to a window: a second or two, more on a machine that runs all other tests beside it.
const START_MAX: Duration = Duration::from_secs(60);
/// One command: a page, or a picture of a long one.
const COMMAND_MAX: Duration = Duration::from_secs(30);
/// The name that the standard gives to the reference of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A window of a browser. Dropping it ends the browser.
pub(super) struct Driver {
    http: reqwest::Client,
    /// Where the commands of this window go.
    session: String,
    _leash: ChildStdin,
    _place: SemaphorePermit<'static>,
}

/// A browser, and what drives it.
struct Programs {
    browser: PathBuf,
    driver: PathBuf,
}

/// An element of the page that is shown.
#[derive(Clone, Debug)]
pub(super) struct Element(String);

impl Element {
    /// Reads what a script has returned; nothing when that is no element.
    pub(super) fn of(value: &Value) -> Option<Self> {
        Some(Self(value[ELEMENT].as_str()?.to_owned()))
    }
}

impl Driver {
    /// Opens a window; nothing, with the reason printed, where this machine has no browser. That is no excuse
    /// where `CI=true` or `GRACEFUL_BROWSER=required`.
    pub(super) async fn open() -> Option<Self> {
        match Programs::find() {
            Ok(programs) => Some(Self::start(&programs).await),
            Err(missing) => {
                let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
                let required = is("CI", "true") || is("GRACEFUL_BROWSER", "required");
                assert!(!required, "{missing}; on Debian: apt-get install chromium chromium-driver");
                // Past what a test that passes hides of its words.
                let mut past = std::io::stderr();
                writeln!(past, "skipped: {missing}").unwrap();
                None
            }
        }
    }

    async fn start(programs: &Programs) -> Self {
        let place = PLACES.acquire().await.expect("nobody closes it");
        let leash = r#""$0" --port=0 & timeout "$1" cat >/dev/null; kill $!"#;
        let mut child = Command::new("sh")
            .args(["-c", leash])
            .arg(&programs.driver)
            .arg(LEASH_MAX.as_secs().to_string())
            .env("TMPDIR", env!("CARGO_TARGET_TMPDIR")) // Where profiles stay of windows that a failure closed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0) // Ctrl-C is for the tests; the leash does the rest.
            .spawn()
            .expect("a shell");
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut said = BufReader::new(stdout).lines();
        let port = async {
            loop {
                let line = said.next_line().await.unwrap().expect("chromedriver listens");
                let port = line.split_once("started successfully on port ").map(|(_, port)| port.to_owned());
                if let Some(port) = port {
                    return port.trim_end_matches('.').parse::<u16>().unwrap();
                }
            }
        };
        let port = timeout(START_MAX, port).await.expect("chromedriver says where it listens");

        let http = reqwest::Client::builder().timeout(START_MAX).build().unwrap();
        let root = format!("http://127.0.0.1:{port}/session");
        // Without its sandbox, which a browser cannot have as root: it sees our own pages only.
        let args = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--remote-debugging-pipe"];
        let options = json!({"args": args, "binary": programs.browser});
        let wanted = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let session =
            exchange(http.post(&root), &json!({"capabilities": {"alwaysMatch": wanted}})).await.unwrap();
        let session = format!("{root}/{}", session["sessionId"].as_str().unwrap());
        Self { http, session, _leash: stdin, _place: place }
    }

    /// Closes the window, with which its profile goes from the disk.
    pub(super) async fn close(self) {
        exchange(self.http.delete(&self.session), &Value::Null).await.unwrap();
    }

    /// Goes to an address, and waits until the page and what belongs to it are loaded.
    pub(super) async fn go(&self, url: &str) {
        self.command("url", &json!({"url": url})).await;
    }

    /// What the function body `script` returns for `args`, which are its `arguments`.
    pub(super) async fn run(&self, script: &str, args: &[Value]) -> Value {
        self.command("execute/sync", &json!({"script": script, "args": args})).await
    }

    /// Clicks in the middle of an element.
    ///
    /// # Errors
    /// With the reason why a person could not: it is hidden, covered, or gone meanwhile.
    pub(super) async fn click(&self, element: &Element) -> Result<(), String> {
        self.try_command(&format!("element/{}/click", element.0), &json!({})).await.map(drop)
    }

    /// Types into an element, in place of what stands there.
    ///
    /// # Errors
    /// When nothing can be typed there.
    pub(super) async fn fill(&self, element: &Element, text: &str) -> Result<(), String> {
        self.try_command(&format!("element/{}/clear", element.0), &json!({})).await?;
        self.type_into(element, text).await
    }

    /// Types into an element; in a list of choices that takes the one that is typed.
    ///
    /// # Errors
    /// When nothing can be typed there.
    pub(super) async fn type_into(&self, element: &Element, text: &str) -> Result<(), String> {
        let path = format!("element/{}/value", element.0);
        self.try_command(&path, &json!({"text": text})).await.map(drop)
    }

    /// Presses and releases a key, wherever the focus is.
    pub(super) async fn press(&self, key: char) {
        let way = |kind: &str| json!({"type": kind, "value": key});
        let keys = json!({"type": "key", "id": "keyboard", "actions": [way("keyDown"), way("keyUp")]});
        self.command("actions", &json!({"actions": [keys]})).await;
    }

    /// What the console of the browser has said since it was asked last: errors of scripts, what did not load,
    /// what the page's policy has forbidden.
    pub(super) async fn console(&self) -> Vec<String> {
        let said = self.command("se/log", &json!({"type": "browser"})).await;
        let said = said.as_array().into_iter().flatten();
        said.map(|entry| format!("{}: {}", entry["level"], entry["message"])).collect()
    }

    /// A command of the browser's own protocol.
    pub(super) async fn ask_browser(&self, name: &str, params: &Value) -> Value {
        self.command("goog/cdp/execute", &json!({"cmd": name, "params": params})).await
    }

    async fn command(&self, path: &str, body: &Value) -> Value {
        self.try_command(path, body).await.unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    async fn try_command(&self, path: &str, body: &Value) -> Result<Value, String> {
        let command = exchange(self.http.post(format!("{}/{path}", self.session)), body);
        timeout(COMMAND_MAX, command).await.unwrap_or_else(|_| panic!("{path} takes too long"))
    }
}

/// One command and its value, or the reason why there is none.
async fn exchange(request: reqwest::RequestBuilder, body: &Value) -> Result<Value, String> {
    let request = if body.is_null() { request } else { request.body(body.to_string()) };
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    let mut answer: Value = serde_json::from_str(&text).map_err(|_| text)?;
    let value = answer["value"].take();
    if status.is_success() { Ok(value) } else { Err(value["message"].as_str().unwrap_or("?").to_owned()) }
}

impl Programs {
    /// Looks them up on the PATH; else says which is missing.
    fn find() -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let named = |names: &[&str]| {
            let mut all =
                names.iter().flat_map(|name| std::env::split_paths(&path).map(move |at| at.join(name)));
            all.find(|program| Path::is_file(program))
                .ok_or_else(|| format!("there is no {}", names.join(" or ")))
        };
        let browser = named(&["chromium", "chromium-browser", "google-chrome"])?;
        Ok(Self { browser, driver: named(&["chromedriver"])? })
    }
}
