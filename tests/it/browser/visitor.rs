//! Somebody at a browser: finds things by what they are called, reads what is shown, and notices what is wrong.

use super::super::registry::SOON;
use super::driver::{Driver, Element};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// What is looked at again and again is looked at this often.
const EVERY: Duration = Duration::from_millis(50);
/// Widths that every page is looked at in, in CSS pixels: a desk, and a phone.
pub(super) const WIDTHS: [u32; 2] = [1280, 400];
/// Height of the window; pages are as long as they are.
const HEIGHT: u32 = 900;

const WORDS: &str = include_str!("words.js");
const FIND: &str = include_str!("find.js");
const SOUND: &str = include_str!("sound.js");
const FITS: &str = include_str!("fits.js");
/// Each of its findings as a sentence.
const AXE: &str = "return axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations.flatMap(\
    ({id, help, nodes}) => nodes.map(({target}) => `${id}: ${help}: ${target}`)))";

/// Light or dark, as the system of a person is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Light,
    Dark,
}

/// Somebody at a browser.
pub(super) struct Visitor {
    pub(super) driver: Driver,
    /// What the paths of [`Visitor::go`] are added to.
    home: String,
}

impl Visitor {
    /// Sits down to look at `home`; nothing where there is no browser.
    pub(super) async fn at(home: &str) -> Option<Self> {
        let visitor = Self { driver: Driver::open().await?, home: home.to_owned() };
        visitor.look(WIDTHS[0], Scheme::Light).await;
        Some(visitor)
    }

    /// Whether there is a browser for somebody whose home is yet to be built.
    pub(super) async fn without_a_home() -> Option<Self> {
        Self::at("").await
    }

    /// Has a home from now on.
    pub(super) fn settle(&mut self, home: &str) {
        home.clone_into(&mut self.home);
    }

    /// Gets up; nothing may have gone wrong that only the console of the browser tells.
    pub(super) async fn leave(self) {
        self.console_is_quiet().await;
        self.driver.close().await;
    }

    /// Neither an error of a script nor a breach of the page's policy has been told since this was asked last.
    pub(super) async fn console_is_quiet(&self) {
        assert_eq!(self.driver.console().await, [""; 0], "in the console of the browser");
    }

    /// Opens a path of the home.
    pub(super) async fn go(&self, path: &str) {
        self.driver.go(&format!("{}{path}", self.home)).await;
    }

    /// Follows the link, or pushes the button, of this name.
    pub(super) async fn click(&self, name: &str) {
        self.click_near(name, "").await;
    }

    /// The same where several have that name: the one in the row, or the part of the page, with the text `near`.
    pub(super) async fn click_near(&self, name: &str, near: &str) {
        self.with("control", name, near, async |element| self.driver.click(&element).await).await;
    }

    /// Types into the field of this label.
    pub(super) async fn fill(&self, label: &str, text: &str) {
        self.fill_near(label, "", text).await;
    }

    /// The same where several fields have that label.
    pub(super) async fn fill_near(&self, label: &str, near: &str, text: &str) {
        self.with("field", label, near, async |element| self.driver.fill(&element, text).await).await;
    }

    /// Ticks the box of this label, in the row or the part of the page with the text `near`.
    pub(super) async fn tick(&self, label: &str, near: &str) {
        self.with("field", label, near, async |element| self.driver.click(&element).await).await;
    }

    /// Takes one of what a list of choices offers.
    pub(super) async fn choose(&self, label: &str, choice: &str) {
        self.with("field", label, "", async |element| self.driver.type_into(&element, choice).await).await;
    }

    /// Does something with what is called `name`; a page that is renewed meanwhile is looked at again.
    async fn with(
        &self,
        kind: &str,
        name: &str,
        near: &str,
        act: impl AsyncFn(Element) -> Result<(), String>,
    ) {
        let mut why = format!("there is no {kind} {name:?}");
        let acted = async {
            loop {
                if let Some(element) = self.find(kind, name, near).await {
                    match act(element).await {
                        Ok(()) => return,
                        Err(error) => why = format!("{kind} {name:?}: {error}"),
                    }
                }
                sleep(EVERY).await;
            }
        };
        let acted = timeout(SOON, acted).await.is_ok();
        assert!(acted, "{why}, near {near:?}, on the page:\n{}", self.text().await);
    }

    async fn find(&self, kind: &str, name: &str, near: &str) -> Option<Element> {
        Element::of(&self.run(FIND, &[json!(kind), json!(name), json!(near)]).await)
    }

    /// All that can be read on the page, as it is laid out.
    pub(super) async fn text(&self) -> String {
        self.run("return document.body.innerText", &[]).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until `text` can be read, whatever the capitals.
    pub(super) async fn reads(&self, text: &str) {
        self.waits_for(text, true).await;
    }

    /// Waits until it cannot be read any more.
    pub(super) async fn reads_no_more(&self, text: &str) {
        self.waits_for(text, false).await;
    }

    async fn waits_for(&self, text: &str, there: bool) {
        let wanted = text.to_lowercase();
        let read = async {
            while self.text().await.to_lowercase().contains(&wanted) != there {
                sleep(EVERY).await;
            }
        };
        if timeout(SOON, read).await.is_err() {
            let what = if there { "cannot be read" } else { "can still be read" };
            panic!("{text:?} {what} on the page:\n{}", self.text().await);
        }
    }

    /// Waits until the expression `condition` is true in the page.
    pub(super) async fn until(&self, condition: &str) {
        let script = format!("return {condition}");
        let met = async {
            while self.run(&script, &[]).await != json!(true) {
                sleep(EVERY).await;
            }
        };
        let met = timeout(SOON, met).await.is_ok();
        assert!(met, "{condition} does not become true on the page:\n{}", self.text().await);
    }

    /// What the function body `script` returns; the words of `words.js` are known to it.
    pub(super) async fn run(&self, script: &str, args: &[Value]) -> Value {
        self.driver.run(&format!("{WORDS}{script}"), args).await
    }

    /// Sees everything this wide, in this scheme.
    pub(super) async fn look(&self, width: u32, scheme: Scheme) {
        let screen = json!({"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": false});
        self.driver.ask_browser("Emulation.setDeviceMetricsOverride", &screen).await;
        let value = if scheme == Scheme::Dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.driver.ask_browser("Emulation.setEmulatedMedia", &features).await;
    }

    /// From the next page on, whether scripts of pages run.
    pub(super) async fn scripts(&self, run: bool) {
        self.driver.ask_browser("Emulation.setScriptExecutionDisabled", &json!({"value": !run})).await;
    }

    /// The page is sound and fits, in every width, light and dark. Pictures of it go to `target/tmp/pictures`.
    pub(super) async fn finds_nothing_wrong(&self, name: &str) {
        let mut wrong = Vec::new();
        for scheme in [Scheme::Light, Scheme::Dark] {
            for width in WIDTHS {
                self.look(width, scheme).await;
                let said = [self.unsound().await, self.unfit().await, self.axe_finds().await].concat();
                wrong.extend(said.into_iter().map(|what| format!("{name}, {scheme:?}, {width} px: {what}")));
                let path = pictures().join(format!("{name}-{scheme:?}-{width}.png").to_lowercase());
                std::fs::write(path, self.picture().await).unwrap();
            }
        }
        self.look(WIDTHS[0], Scheme::Light).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// What is wrong for those who cannot see the page well, or use no mouse.
    pub(super) async fn unsound(&self) -> Vec<String> {
        self.wrong_with(SOUND).await
    }

    /// What axe-core finds, where `GRACEFUL_AXE` names its file.
    async fn axe_finds(&self) -> Vec<String> {
        let Some(file) = std::env::var_os("GRACEFUL_AXE") else { return Vec::new() };
        let axe = std::fs::read_to_string(file).expect("the file that GRACEFUL_AXE names");
        self.wrong_with(&format!("{axe}\n{AXE}")).await
    }

    /// What does not fit.
    pub(super) async fn unfit(&self) -> Vec<String> {
        self.wrong_with(FITS).await
    }

    async fn wrong_with(&self, check: &str) -> Vec<String> {
        let wrong = self.run(check, &[]).await;
        let wrong = wrong.as_array().unwrap_or_else(|| panic!("{wrong}"));
        wrong.iter().map(|what| what.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The whole page as a PNG.
    pub(super) async fn picture(&self) -> Vec<u8> {
        self.shot(&json!({"format": "png", "captureBeyondViewport": true})).await
    }

    /// The first part of the page that the selector names, with a little of what is around it, as a PNG.
    pub(super) async fn picture_of(&self, part: &str) -> Vec<u8> {
        let place = "const {x, y, width, height} = document.querySelector(arguments[0]).getBoundingClientRect(); \
                    return {x: x + scrollX - 8, y: y + scrollY - 8, width: width + 16, height: height + 16, scale: 1}";
        let clip = self.run(place, &[json!(part)]).await;
        self.shot(&json!({"format": "png", "captureBeyondViewport": true, "clip": clip})).await
    }

    async fn shot(&self, how: &Value) -> Vec<u8> {
        let shot = self.driver.ask_browser("Page.captureScreenshot", how).await;
        STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }
}

/// Where pictures go that somebody may want to look at.
pub(super) fn pictures() -> PathBuf {
    let pictures = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    pictures
}
