//! Any sequence of changes leads to what the policies say, as somebody says it who looks at everything.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::model::{Model, address, pod, port};
use crate::protocol::Protocol;

const NAMESPACES: [&str; 2] = ["one", "two"];
const PODS: u8 = 4;
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

#[derive(Debug, Clone)]
enum Step {
    Namespace(usize, Option<usize>),
    /// A pod of a namespace: its label, whether it is here, and the number of its named port.
    Pod(usize, u8, Option<(usize, bool, u16)>),
    Policy(usize, u8, Option<Value>),
    Restart,
}

fn label(value: usize) -> (&'static str, &'static str) {
    ("l", ["a", "b", "c"][value])
}

fn selector() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        (0usize..3).prop_map(|value| json!({"matchLabels": {"l": label(value).1}})),
        Just(json!({"matchExpressions": [{"key": "l", "operator": "NotIn", "values": ["a"]}]})),
    ]
}

fn peer() -> impl Strategy<Value = Value> {
    prop_oneof![
        selector().prop_map(|pods| json!({"podSelector": pods})),
        selector().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        (selector(), selector())
            .prop_map(|(pods, namespaces)| json!({"podSelector": pods, "namespaceSelector": namespaces})),
        Just(json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.244.0.2/31"]}})),
    ]
}

fn policy_port() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"protocol": "UDP"})),
        Just(json!({"port": 80})),
        Just(json!({"port": 79, "endPort": 81})),
        Just(json!({"port": "web"})),
    ]
}

fn spec() -> impl Strategy<Value = Value> {
    let few = |what| prop::collection::vec(what, 0..3);
    let rules = |peers: &'static str| {
        let rule = (prop::collection::vec(peer(), 0..3), prop::collection::vec(policy_port(), 0..3));
        few(rule.prop_map(move |(found, ports)| json!({peers: found, "ports": ports})).boxed())
    };
    let types =
        prop_oneof![Just(json!(["Ingress"])), Just(json!(["Egress"])), Just(json!(["Ingress", "Egress"]))];
    (selector(), rules("from"), rules("to"), types).prop_map(|(pods, ingress, egress, types)| {
        json!({"podSelector": pods, "ingress": ingress, "egress": egress, "policyTypes": types})
    })
}

fn step() -> impl Strategy<Value = Step> {
    let namespace = 0..NAMESPACES.len();
    prop_oneof![
        1 => (namespace.clone(), prop::option::of(0usize..3)).prop_map(|(at, label)| Step::Namespace(at, label)),
        4 => (namespace.clone(), 0..PODS, prop::option::weighted(0.8, (0usize..3, any::<bool>(), 79u16..82)))
            .prop_map(|(at, number, pod)| Step::Pod(at, number, pod)),
        3 => (namespace, 0u8..3, prop::option::weighted(0.8, spec()))
            .prop_map(|(at, number, spec)| Step::Policy(at, number, spec)),
        1 => Just(Step::Restart),
    ]
}

/// All that there is.
#[derive(Debug, Default)]
struct World {
    namespaces: BTreeMap<usize, usize>,
    pods: BTreeMap<(usize, u8), (usize, bool, u16)>,
    policies: BTreeMap<(usize, u8), Value>,
}

/// A pod's address is its own for ever.
fn last(namespace: usize, number: u8) -> u8 {
    u8::try_from(namespace).expect("few") * PODS + number
}

impl World {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Namespace(at, label) => put(&mut self.namespaces, *at, *label),
            Step::Pod(at, number, pod) => put(&mut self.pods, (*at, *number), *pod),
            Step::Policy(at, number, spec) => put(&mut self.policies, (*at, *number), spec.clone()),
            Step::Restart => {}
        }
    }

    /// Whether the first packet passes, if it does for both sides.
    fn passes(&self, from: Ipv4Addr, to: Ipv4Addr, protocol: Protocol, number: u16) -> bool {
        let packet = (protocol, number);
        from == to
            || (self.lets(from, to, ("egress", "Egress", "to"), packet)
                && self.lets(to, from, ("ingress", "Ingress", "from"), packet))
    }

    fn pod_at(&self, address: Ipv4Addr) -> Option<(usize, (usize, bool, u16))> {
        let is =
            |((at, number), _): &(&(usize, u8), &_)| super::model::address(last(*at, *number)) == address;
        self.pods.iter().find(is).map(|((at, _), pod)| (*at, *pod))
    }

    fn lets(
        &self,
        mine: Ipv4Addr,
        other: Ipv4Addr,
        (rules, kind, peers): (&str, &str, &str),
        (protocol, number): (Protocol, u16),
    ) -> bool {
        let Some((namespace, (label, true, own_port))) = self.pod_at(mine) else { return true };
        let about = self.policies.iter().filter(|((at, _), spec)| {
            *at == namespace
                && spec["policyTypes"].as_array().is_some_and(|types| types.contains(&kind.into()))
                && selects(&spec["podSelector"], Some(label))
        });
        let about: Vec<&Value> = about.map(|(_, spec)| spec).collect();
        if about.is_empty() {
            return true;
        }
        let named = match kind {
            "Ingress" => Some(own_port),
            _ => self.pod_at(other).map(|(_, (_, _, port))| port),
        };
        let is_named_block = |peer: &Value, port: &Value| {
            kind == "Egress" && !peer["ipBlock"].is_null() && port["port"].is_string()
        };
        let port = |port: &Value| {
            let is_udp = port["protocol"] == "UDP";
            is_udp == (protocol == Protocol::Udp)
                && match &port["port"] {
                    Value::Null => true,
                    Value::String(_) => named == Some(number),
                    first => {
                        let first = first.as_u64().expect("a number");
                        (first..=port["endPort"].as_u64().unwrap_or(first)).contains(&u64::from(number))
                    }
                }
        };
        let peer = |peer: &Value| {
            if !peer["ipBlock"].is_null() {
                return other.to_bits() >> 1 != address(2).to_bits() >> 1;
            }
            self.pod_at(other).is_some_and(|(at, (label, ..))| {
                let is_in = match &peer["namespaceSelector"] {
                    Value::Null => at == namespace,
                    selector => match self.namespaces.get(&at) {
                        Some(label) => selects(selector, Some(*label)),
                        None => false,
                    },
                };
                is_in && (peer["podSelector"].is_null() || selects(&peer["podSelector"], Some(label)))
            })
        };
        about.iter().flat_map(|spec| spec[rules].as_array().into_iter().flatten()).any(|rule| {
            let (peers, ports) =
                (rule[peers].as_array().expect("peers"), rule["ports"].as_array().expect("ports"));
            let nobody = json!({});
            let everybody = peers.is_empty();
            let who: Vec<&Value> = if everybody { vec![&nobody] } else { peers.iter().collect() };
            who.iter().any(|one| {
                (everybody || peer(one))
                    && (ports.is_empty() || ports.iter().any(|p| port(p) && !is_named_block(one, p)))
            })
        })
    }
}

fn selects(selector: &Value, value: Option<usize>) -> bool {
    let value = value.map(|value| label(value).1);
    if let Some(wanted) = selector["matchLabels"]["l"].as_str() {
        return value == Some(wanted);
    }
    selector["matchExpressions"].is_null() || value != Some("a")
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

fn tell(model: &mut Model, step: &Step) {
    match step {
        Step::Namespace(at, value) => {
            let labels = value.map(|value| [label(value)]);
            model.namespace(NAMESPACES[*at], labels.as_ref().map(|labels| &labels[..]));
        }
        Step::Pod(at, number, found) => {
            let found = found.map(|(value, is_here, web)| {
                let mut pod = pod(last(*at, *number), &[label(value)]);
                pod.is_here = is_here;
                pod.ports = vec![port("web", Protocol::Tcp, web)];
                pod
            });
            model.pod(NAMESPACES[*at], &number.to_string(), found);
        }
        Step::Policy(at, number, spec) => {
            model.policy(NAMESPACES[*at], &number.to_string(), spec.clone());
        }
        Step::Restart => {}
    }
}

fn tell_all(model: &mut Model, world: &World) {
    // In another order than at first.
    for ((at, number), spec) in &world.policies {
        tell(model, &Step::Policy(*at, *number, Some(spec.clone())));
    }
    for ((at, number), pod) in &world.pods {
        tell(model, &Step::Pod(*at, *number, Some(*pod)));
    }
    for (at, label) in &world.namespaces {
        tell(model, &Step::Namespace(*at, Some(*label)));
    }
}

fn check(model: &Model, world: &World) -> Result<(), TestCaseError> {
    let pods: Vec<Ipv4Addr> = world.pods.keys().map(|(at, number)| address(last(*at, *number))).collect();
    let ends: Vec<Ipv4Addr> = pods.iter().copied().chain([OUTSIDE]).collect();
    for (from, to) in ends.iter().flat_map(|from| ends.iter().map(move |to| (*from, *to))) {
        for (protocol, number) in
            [(Protocol::Tcp, 80), (Protocol::Tcp, 79), (Protocol::Tcp, 90), (Protocol::Udp, 80)]
        {
            prop_assert_eq!(
                model.passes(from, to, protocol, number),
                world.passes(from, to, protocol, number),
                "{} to {} {:?} {}\n{:#?}",
                from,
                to,
                protocol,
                number,
                world
            );
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_passes_is_what_the_policies_say(steps in prop::collection::vec(step(), 1..25)) {
        let (mut model, mut world) = (Model::default(), World::default());
        for step in &steps {
            world.step(step);
            match step {
                Step::Restart => model.restart(|model| tell_all(model, &world)),
                _ => tell(&mut model, step),
            }
            check(&model, &world)?;
        }
        // Without policies nothing is left, but for pods that went: nobody said that they run no more.
        for at in 0..NAMESPACES.len() {
            (0..3).for_each(|number| tell(&mut model, &Step::Policy(at, number, None)));
        }
        (0..u8::try_from(NAMESPACES.len()).expect("few") * PODS).for_each(|last| drop(model.release(last)));
        prop_assert_eq!(model.elements(), 0);
    }
}
