//! [`Selectors`]: the expressions by which a request and its class select devices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use api::quantity::Quantity;
use expressions::{Budget, Fault, Program, Text, Type, Value};
use k8s_openapi::api::resource::v1::{Device, DeviceAttribute, DeviceSelector};
use regex::Regex;

/// What an expression may cost for one device (upstream: `CELSelectorExpressionMaxCost`).
const MAX_STEPS: u64 = 1_000_000;
/// A text by which a map is asked, such as a domain.
static ASKED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"\[\s*(?:"([^"\\]*)"|'([^'\\]*)')\s*\]"#).expect("a pattern"));

/// Expressions, all of which must be true of a device.
#[derive(Default)]
pub struct Selectors(Vec<Selector>);

struct Selector {
    program: Program,
    /// What the fault of an evaluation begins with.
    of: String,
    /// Domains of which the expression speaks: such a domain without attributes is empty, not absent.
    domains: BTreeSet<String>,
}

impl Selectors {
    /// Adds those of a class or a request. `of`: whose they are, for messages.
    ///
    /// # Errors
    /// When one of the expressions is none.
    pub fn add(&mut self, of: &str, selectors: Option<&[DeviceSelector]>) -> Result<(), String> {
        for (number, selector) in selectors.into_iter().flatten().enumerate() {
            let Some(cel) = &selector.cel else {
                return Err(format!(
                    "{of}: selector #{number}: CEL expression empty (unsupported selector type?)"
                ));
            };
            let text = &cel.expression;
            let program = Program::compile(text, &[("device", &Type::Dyn)])
                .map_err(|why| format!("{of}: selector #{number}: CEL compile error: {why}"))?;
            let asked = ASKED.captures_iter(text).filter_map(|found| found.get(1).or(found.get(2)));
            let domains = asked.map(|text| text.as_str().to_owned()).collect();
            self.0.push(Selector { program, of: format!("{of}: selector #{number}"), domains });
        }
        Ok(())
    }

    /// Whether all are true of the device.
    ///
    /// # Errors
    /// When one has no value for the device, or none that is true or false.
    pub fn select(&self, driver: &str, device: &Device) -> Result<bool, String> {
        for Selector { program, of, domains } in &self.0 {
            let device = value(driver, device, domains);
            let fault = match program.run(&[device], &mut Budget::steps(MAX_STEPS)) {
                Ok(Value::Bool(true)) => continue,
                Ok(Value::Bool(false)) => return Ok(false),
                Ok(other) => format!("must evaluate to bool, not {}", other.type_name()),
                Err(Fault::Spent) => "actual cost limit exceeded".to_owned(),
                Err(Fault::Failed(what)) => what,
            };
            return Err(format!("{of}: runtime error: {fault}"));
        }
        Ok(true)
    }
}

fn text(text: &str) -> Value<'static> {
    Value::String(Text::from(text.to_owned()))
}

fn map(entries: impl IntoIterator<Item = (String, Value<'static>)>) -> Value<'static> {
    Value::Map(Arc::new(entries.into_iter().map(|(key, value)| (text(&key), value)).collect()))
}

/// The device as expressions see it.
fn value(driver: &str, device: &Device, domains: &BTreeSet<String>) -> Value<'static> {
    let attributes = device.attributes.iter().flatten();
    let attributes = attributes.filter_map(|(name, attribute)| Some((&**name, attribute_value(attribute)?)));
    let capacity = device.capacity.iter().flatten().filter_map(|(name, capacity)| {
        let amount: Quantity = capacity.value.0.parse().ok()?;
        Some((&**name, Value::Quantity(Arc::new(amount))))
    });
    map([
        ("driver".to_owned(), text(driver)),
        ("attributes".to_owned(), by_domain(driver, attributes, domains)),
        ("capacity".to_owned(), by_domain(driver, capacity, domains)),
        ("allowMultipleAllocations".to_owned(), Value::Bool(device.allow_multiple_allocations == Some(true))),
    ])
}

fn attribute_value(attribute: &DeviceAttribute) -> Option<Value<'static>> {
    if let Some(whole) = attribute.int {
        return Some(Value::Int(whole));
    }
    if let Some(flag) = attribute.bool {
        return Some(Value::Bool(flag));
    }
    if let Some(string) = &attribute.string {
        return Some(text(string));
    }
    let version = attribute.version.as_ref()?.parse().ok()?;
    Some(Value::Version(Arc::new(version)))
}

/// Names without a domain are in the driver's own.
fn by_domain<'d>(
    driver: &str,
    named: impl Iterator<Item = (&'d str, Value<'static>)>,
    asked: &BTreeSet<String>,
) -> Value<'static> {
    let mut domains: BTreeMap<String, Vec<(String, Value<'static>)>> =
        asked.iter().map(|domain| (domain.clone(), Vec::new())).collect();
    for (name, value) in named {
        let (domain, id) = name.split_once('/').unwrap_or((driver, name));
        domains.entry(domain.to_owned()).or_default().push((id.to_owned(), value));
    }
    map(domains.into_iter().map(|(domain, named)| (domain, map(named))))
}
