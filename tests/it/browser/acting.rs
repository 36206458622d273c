//! Changing something from the console: every act as an operator does it, from the page that it begins on to
//! the words that say it is done, and to what the registry's own API says then.

use super::super::registry_reports::Orders;
use super::stage::{HOSTILE_SERVICE, HOSTILE_VALUE, Stage, encoded};
use super::visitor::Visitor;
use serde_json::{Value, json};
use tower_graceful::model::Phase;

const ENTER: char = '\u{e007}';
const ESCAPE: char = '\u{e00c}';
const SPACE: char = ' ';
const ORDERS: &str = "/console/service?serviceName=orders";
const SEVEN: &str = "10.0.0.7:8080";
const EIGHT: &str = "10.0.0.8:8080";

/// What the API says of the instances of a service.
async fn told(stage: &Stage, service: &str) -> Value {
    let path = format!("/graceful/v1/instances?serviceName={}", encoded(service));
    let (status, body) = stage.registry.send("GET", &path, "").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Of one instance.
async fn told_of(stage: &Stage, address: &str) -> Value {
    let all = told(stage, "orders").await;
    let port = address.rsplit_once(':').unwrap();
    let one = all["instances"].as_array().unwrap().iter().find(|one| one["ip"] == port.0);
    one.unwrap_or_else(|| panic!("{address} in {all}")).clone()
}

impl Visitor {
    /// Begins an act on an instance, from its row.
    async fn begins(&self, act: &str, instance: &str) {
        self.click_near("Change", instance).await;
        self.click_near(act, instance).await;
        self.reads("What will happen").await;
    }

    /// Reads what will happen, has it done, and reads that it was.
    async fn confirms(&self, will: &[&str], button: &str, done: &str) {
        self.reads("What will happen").await;
        for will in will {
            self.reads(will).await;
        }
        self.click(button).await;
        self.reads(done).await;
    }
}

#[tokio::test]
async fn an_instance_is_disabled_and_enabled_with_scripts_and_without() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    let _clients = [stage.connects("orders", SEVEN).await, stage.connects("orders", EIGHT).await];
    for scripts in [true, false] {
        visitor.scripts(scripts).await;
        visitor.go(ORDERS).await;
        visitor.begins("Disable", SEVEN).await;
        if scripts {
            visitor.finds_nothing_wrong("disable").await;
        }
        visitor.confirms(&["has 1 of 2 instances that take traffic then"], "Disable", "Disabled: ").await;
        visitor.go(ORDERS).await;
        visitor.reads("1 of 2 take traffic").await;
        assert_eq!(told_of(&stage, SEVEN).await["enabled"], false);

        visitor.begins("Enable", SEVEN).await;
        visitor.confirms(&["takes traffic at once"], "Enable", "Enabled: ").await;
        visitor.go(ORDERS).await;
        visitor.reads("2 of 2 take traffic").await;
        assert_eq!(told_of(&stage, SEVEN).await["enabled"], true);
    }
    visitor.scripts(true).await;
    visitor.go(ORDERS).await;
    visitor.click(SEVEN).await;
    visitor.reads("Timeline").await;
    visitor.reads("an operator at 127.0.0.1").await; // Who did it.
    visitor.leave().await;
}

#[tokio::test]
async fn all_that_are_ticked_are_changed_at_once_and_whoever_takes_the_last_one_is_warned() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    let _clients = [stage.connects("orders", SEVEN).await, stage.connects("orders", EIGHT).await];
    visitor.go(ORDERS).await;
    visitor.tick("tick", SEVEN).await;
    visitor.tick("tick", EIGHT).await;
    visitor.click_near("Disable", "Those that are ticked").await;
    visitor.reads("no instance takes traffic").await;
    visitor.finds_nothing_wrong("disable-all").await;
    visitor.click("Leave all as it is").await;
    visitor.reads("2 of 2 take traffic").await;
    assert_eq!(told_of(&stage, SEVEN).await["enabled"], true, "nothing has happened yet");

    visitor.tick("tick", SEVEN).await;
    visitor.tick("tick", EIGHT).await;
    visitor.click_near("Weight", "Those that are ticked").await;
    visitor.fill("Weight", "heavy").await;
    visitor.click("Go on").await;
    visitor.reads("range from").await;
    visitor.until("document.querySelector('[name=weight]').getAttribute('aria-invalid') === 'true'").await;
    assert_eq!(visitor.run("return document.querySelector('[name=weight]').value", &[]).await, "heavy");
    visitor.finds_nothing_wrong("wrong-weight").await;
    visitor.fill("Weight", "5").await;
    visitor.click("Go on").await;
    visitor.reads("gets weight 5 in place of 1").await;
    visitor.click("Change it").await;
    visitor.fill("Weight", "3").await;
    visitor.click("Go on").await;
    visitor.confirms(&["gets weight 3 in place of 1"], "Set the weight", "Weight 3 is set: ").await;
    for address in [SEVEN, EIGHT] {
        assert_eq!(told_of(&stage, address).await["weight"], 3.0);
    }
    visitor.driver.console().await; // The browser tells there that the first weight was refused.
    visitor.leave().await;
}

#[tokio::test]
async fn metadata_are_set_as_they_are_typed_and_all_that_is_set_is_taken_back() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    let _client = stage.connects("orders", SEVEN).await;
    visitor.go(ORDERS).await;
    visitor.click_near("Change", SEVEN).await;
    visitor.click_near("Metadata", SEVEN).await;
    visitor.finds_nothing_wrong("metadata").await;
    visitor.fill("Metadata that count more than its own", &format!("zone=a\n<b>={HOSTILE_VALUE}")).await;
    visitor.click("Go on").await;
    visitor.reads("<b>").await;
    visitor.finds_nothing_wrong("metadata-plan").await;
    visitor.confirms(&["zone"], "Set the metadata", "Metadata are set: ").await;
    let metadata = &told_of(&stage, SEVEN).await["metadata"];
    assert_eq!(metadata, &json!({"zone": "a", "<b>": HOSTILE_VALUE}));
    visitor.reads("alert(2)").await; // As text: the console of the browser would tell of a script.
    visitor.finds_nothing_wrong("instance-hostile").await;

    visitor.go(ORDERS).await;
    visitor.begins("Take back what is set", SEVEN).await;
    visitor.confirms(&["Now on it: metadata"], "Take it back", "As registered again: ").await;
    assert_eq!(told_of(&stage, SEVEN).await["metadata"], json!({}));
    visitor.console_is_quiet().await;
    visitor.leave().await;
}

#[tokio::test]
async fn a_service_is_made_filled_described_emptied_and_deleted() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    visitor.click("Create a service").await;
    visitor.finds_nothing_wrong("create-service").await;
    visitor.fill("Name", "or ders").await;
    visitor.click("Go on").await;
    visitor.reads("is not valid").await;
    visitor.fill("Name", HOSTILE_SERVICE).await;
    visitor.choose("An instance of it", "stays until it is taken off").await;
    visitor.fill("Protection threshold", "0.5").await;
    visitor.fill("Metadata", "team=shop").await;
    visitor.click("Go on").await;
    visitor.finds_nothing_wrong("create-service-plan").await;
    visitor.confirms(&["persistent instances only", "team"], "Create it", "Created: ").await;
    visitor.reads(HOSTILE_SERVICE).await;

    visitor.click("Register an instance").await;
    visitor.finds_nothing_wrong("register").await;
    visitor.fill("Host", "10.0.0.7").await;
    visitor.fill("Port", "80").await;
    visitor.click("Go on").await;
    visitor.confirms(&["10.0.0.7:80"], "Register it", "Registered: 10.0.0.7:80").await;
    visitor.reads("1 of 1 take traffic").await;
    visitor.click_near("Change", "10.0.0.7:80").await;
    visitor.click_near("Register anew", "10.0.0.7:80").await;
    visitor.fill("Weight", "2").await;
    visitor.click("Go on").await;
    visitor.confirms(&["10.0.0.7:80"], "Register it", "Registered: 10.0.0.7:80").await;
    assert_eq!(told(&stage, HOSTILE_SERVICE).await["instances"][0]["weight"], 2.0);

    visitor.click("Threshold and metadata").await;
    visitor.fill("Protection threshold", "0.25").await;
    visitor.click("Go on").await;
    visitor.confirms(&["0.25 in place of 0.5"], "Describe it so", "Described anew: ").await;

    visitor.begins("Take off", "10.0.0.7:80").await;
    visitor.confirms(&[], "Take it off", "Taken off: ").await;
    visitor.go(&format!("/console/service?serviceName={}", encoded(HOSTILE_SERVICE))).await;
    visitor.click("Delete").await;
    visitor.confirms(&["goes, with its protection threshold"], "Delete it", "Deleted: ").await;
    visitor.reads("No services yet").await;
    visitor.driver.console().await; // The browser tells there that the first name was refused.
    visitor.leave().await;
}

#[tokio::test]
async fn how_all_instances_start_and_leave_is_set_on_their_service() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    let _client = stage.connects("orders", SEVEN).await;
    visitor.go(ORDERS).await;
    visitor.click("How instances start and leave").await;
    visitor.finds_nothing_wrong("rollout").await;
    visitor.fill("Warm-up, in seconds", "60").await;
    visitor.fill("Exponent of the ramp", "1").await;
    visitor.choose("Notices to consumers", "sent when an instance leaves").await;
    visitor.click("Go on").await;
    let will = ["60 s, in place of each instance's own", "has 1 instances for which this holds at once"];
    visitor.confirms(&will, "Set it", "Set for all instances of orders").await;
    let metadata = &told_of(&stage, SEVEN).await["metadata"];
    assert_eq!((&metadata["graceful.warmup"], &metadata["graceful.notice"]), (&json!("60"), &json!("true")));
    visitor.leave().await;
}

#[tokio::test]
async fn the_connection_of_a_client_is_closed() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    let _client = stage.connects("orders", SEVEN).await;
    visitor.go("/console/clients").await;
    visitor.click_near("Close", "shop").await;
    visitor.reads("loses 1 of its instances").await;
    visitor.finds_nothing_wrong("close").await;
    visitor.confirms(&["no instance of orders takes traffic"], "Close it", "Closed: connection ").await;
    visitor.go("/console/instance?serviceName=orders&ip=10.0.0.7&port=8080").await;
    visitor.reads("an operator at 127.0.0.1").await;
    visitor.leave().await;
}

#[tokio::test]
async fn a_provider_is_told_to_leave_and_leaves() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    let orders = Orders::start(&stage.registry, |provider| provider).await;
    let address = orders.address.to_string();
    visitor.go(ORDERS).await;
    visitor.begins("Take offline", &address).await;
    visitor.finds_nothing_wrong("offline").await;
    visitor.confirms(&["no instance takes traffic"], "Take it offline", "Told to leave: ").await;
    assert_eq!(orders.handle.reached(Phase::Leaving).await, Phase::Leaving);
    visitor.reads("It is not listed any more").await;
    visitor.reads("leaving: an operator of the registry").await;
    visitor.finds_nothing_wrong("instance-left").await;
    visitor.leave().await;
}

#[tokio::test]
async fn a_keyboard_is_enough_to_change_something() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    let _client = stage.connects("orders", SEVEN).await;
    visitor.go(ORDERS).await;
    let focus = "all('summary, a, dialog button').findLast((one) => squeezed(one.innerText) === arguments[0]).focus()";
    visitor.run(focus, &[json!("Change")]).await;
    visitor.driver.press(SPACE).await;
    visitor.reads("Metadata").await;
    visitor.run(focus, &[json!("Disable")]).await;
    visitor.driver.press(ENTER).await;
    visitor.reads("What will happen").await;
    visitor.run(focus, &[json!("Disable")]).await;
    visitor.driver.press(SPACE).await;
    visitor.reads("Disabled: ").await;
    visitor.leave().await;
}

#[tokio::test]
async fn what_is_asked_in_a_dialog_is_left_by_escape_and_the_focus_is_back_where_it_was() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    let _client = stage.connects("orders", SEVEN).await;
    visitor.go(ORDERS).await;
    visitor.click("Threshold and metadata").await;
    visitor.until("document.querySelector('dialog:modal') !== null").await;
    let held = "return document.querySelector('dialog').contains(document.activeElement)";
    assert_eq!(visitor.run(held, &[]).await, true, "the focus is in the dialog");
    visitor.driver.press(ESCAPE).await;
    visitor.until("document.querySelector('dialog') === null").await;
    assert_eq!(visitor.run("return called(document.activeElement)", &[]).await, "Threshold and metadata");
    visitor.leave().await;
}

#[tokio::test]
async fn a_form_of_another_site_changes_nothing() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    let _client = stage.connects("orders", SEVEN).await;
    let home = stage.home();
    let foreign = format!(
        "<form method=post action='{home}/console/act/disable?serviceName=orders&ip=10.0.0.7&port=8080'>\
         <input type=hidden name=typed value=yes><button name=sure value=yes>Win a prize</button></form>"
    );
    visitor.driver.go(&format!("data:text/html,{}", encoded(&foreign))).await;
    visitor.click("Win a prize").await;
    visitor.reads("this form was not sent by a page of this console").await;
    assert_eq!(told_of(&stage, SEVEN).await["enabled"], true);
    visitor.driver.console().await; // The browser tells there of the 403.
    visitor.leave().await;
}
