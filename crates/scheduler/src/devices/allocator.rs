//! [`Search`]: finds devices for all claims of a pod on one node, by trying. Pure. Upstream:
//! `k8s.io/dynamic-resource-allocation/structured`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use api::quantity::Quantity;
use informer::{Cache, Key};
use k8s_openapi::api::resource::v1::{
    AllocationResult, CapacityRequirements, Device, DeviceClass, DeviceConstraint, DeviceSelector,
    DeviceToleration, ResourceClaim,
};

use super::pools::{DeviceId, Pool};
use super::selector::Selectors;

pub mod counters;
pub mod results;

/// The most devices that one claim can get.
const MAX_DEVICES: usize = 32;
/// How many devices are tried before the search gives up: what is asked for may be a puzzle.
const MAX_TRIES: usize = 200_000;

/// A claim that is to be allocated.
pub struct Order {
    pub key: Key,
    pub claim: Arc<ResourceClaim>,
    pub requests: Vec<Request>,
}

/// A request, with the ways in which it can be met, the best first.
pub struct Request {
    pub name: String,
    pub alternatives: Vec<Alternative>,
}

/// One way in which a request can be met.
pub struct Alternative {
    /// Of the request, and after a slash of the alternative if it has one.
    pub name: String,
    pub class: Arc<DeviceClass>,
    selectors: Selectors,
    /// How many devices; `None` for all that there are.
    count: Option<usize>,
    pub is_admin: bool,
    pub tolerations: Vec<DeviceToleration>,
    /// What a device must have of its capacities.
    capacity: Vec<(String, Quantity)>,
}

/// A request or an alternative of one, which have the same fields.
struct Fields<'a> {
    name: String,
    class: &'a str,
    selectors: Option<&'a [DeviceSelector]>,
    mode: Option<&'a str>,
    count: Option<i64>,
    is_admin: bool,
    tolerations: Option<&'a Vec<DeviceToleration>>,
    capacity: Option<&'a CapacityRequirements>,
}

impl Order {
    /// # Errors
    /// When a class is not there, or an expression is none.
    pub fn of(key: Key, claim: Arc<ResourceClaim>, classes: &Cache<DeviceClass>) -> Result<Self, String> {
        let mut requests = Vec::new();
        let devices = claim.spec.devices.as_ref();
        for request in devices.into_iter().flat_map(|devices| devices.requests.iter().flatten()) {
            let exactly = request.exactly.iter().map(|exactly| Fields {
                name: request.name.clone(),
                class: &exactly.device_class_name,
                selectors: exactly.selectors.as_deref(),
                mode: exactly.allocation_mode.as_deref(),
                count: exactly.count,
                is_admin: exactly.admin_access == Some(true),
                tolerations: exactly.tolerations.as_ref(),
                capacity: exactly.capacity.as_ref(),
            });
            let several = request.first_available.iter().flatten().map(|one| Fields {
                name: format!("{}/{}", request.name, one.name),
                class: &one.device_class_name,
                selectors: one.selectors.as_deref(),
                mode: one.allocation_mode.as_deref(),
                count: one.count,
                is_admin: false,
                tolerations: one.tolerations.as_ref(),
                capacity: one.capacity.as_ref(),
            });
            let alternatives = exactly.chain(several).map(|fields| Alternative::of(&key, fields, classes));
            let alternatives = alternatives.collect::<Result<Vec<_>, _>>()?;
            if alternatives.is_empty() {
                return Err(format!("request {}: unsupported request type", request.name));
            }
            requests.push(Request { name: request.name.clone(), alternatives });
        }
        Ok(Self { key, claim, requests })
    }

    fn constraints(&self) -> &[DeviceConstraint] {
        let devices = self.claim.spec.devices.as_ref();
        devices.and_then(|devices| devices.constraints.as_deref()).unwrap_or_default()
    }
}

impl Alternative {
    fn of(claim: &Key, fields: Fields<'_>, classes: &Cache<DeviceClass>) -> Result<Self, String> {
        let Fields { name, class: class_name, .. } = fields;
        if class_name.is_empty() {
            return Err(format!("request {name}: unsupported request type"));
        }
        let class = classes
            .get("", class_name)
            .ok_or_else(|| format!("request {name}: device class {class_name} does not exist"))?;
        let mut selectors = Selectors::default();
        selectors.add(&format!("class {class_name}"), class.spec.selectors.as_deref())?;
        selectors.add(&format!("claim {claim}, request {name}"), fields.selectors)?;
        let count = match fields.mode.unwrap_or("ExactCount") {
            "All" => None,
            "ExactCount" => Some(usize::try_from(fields.count.unwrap_or(1)).unwrap_or(usize::MAX)),
            other => {
                return Err(format!("claim {claim}, request {name}: unsupported count mode {other}"));
            }
        };
        let asked = fields.capacity.and_then(|capacity| capacity.requests.as_ref());
        let asked = asked.into_iter().flatten();
        let capacity = asked.map(|(name, amount)| Some((name.clone(), amount.0.parse().ok()?)));
        Ok(Self {
            class,
            selectors,
            count,
            is_admin: fields.is_admin,
            tolerations: fields.tolerations.cloned().unwrap_or_default(),
            capacity: capacity.collect::<Option<_>>().unwrap_or_default(),
            name,
        })
    }

    /// Whether the device's taints are tolerated.
    fn tolerates(&self, device: &Device) -> bool {
        let mut taints = device.taints.iter().flatten().filter(|taint| taint.effect != "None");
        taints.all(|taint| {
            self.tolerations.iter().any(|toleration| {
                let given = |field: &Option<String>, other: &str| {
                    field.as_deref().is_none_or(|text| text.is_empty() || text == other)
                };
                given(&toleration.effect, &taint.effect)
                    && given(&toleration.key, &taint.key)
                    && match toleration.operator.as_deref().unwrap_or_default() {
                        "Exists" => true,
                        _ => {
                            toleration.value.as_deref().unwrap_or_default()
                                == taint.value.as_deref().unwrap_or_default()
                        }
                    }
            })
        })
    }

    fn has_capacity(&self, driver: &str, device: &Device) -> bool {
        self.capacity.iter().all(|(name, least)| {
            let held = device.capacity.as_ref().and_then(|held| by_name(held, driver, name));
            held.and_then(|held| held.value.0.parse::<Quantity>().ok()).is_some_and(|held| held >= *least)
        })
    }
}

/// A value by its name, which has the driver's domain where it has none.
fn by_name<'d, T>(all: &'d std::collections::BTreeMap<String, T>, driver: &str, name: &str) -> Option<&'d T> {
    all.get(name).or_else(|| match name.split_once('/') {
        Some((domain, id)) if domain == driver => all.get(id),
        Some(_) => None,
        None => all.get(&format!("{driver}/{name}")),
    })
}

/// A device that was chosen for a request.
#[derive(Clone, Copy)]
pub struct Pick {
    order: usize,
    request: usize,
    alternative: usize,
    pool: usize,
    device: usize,
}

/// See the module's documentation.
pub struct Search<'s> {
    orders: &'s [Order],
    pools: &'s [Pool],
    taken: &'s HashSet<DeviceId>,
    /// All requests: claim and request.
    places: Vec<(usize, usize)>,
    /// All devices: pool and device.
    devices: Vec<(usize, usize)>,
    picks: Vec<Pick>,
    /// Whether the selectors of an alternative select a device.
    selected: HashMap<(usize, usize, usize, usize), bool>,
    tries: usize,
}

impl<'s> Search<'s> {
    pub fn new(orders: &'s [Order], pools: &'s [Pool], taken: &'s HashSet<DeviceId>) -> Self {
        let each = orders.iter().enumerate();
        let places = each.flat_map(|(at, order)| (0..order.requests.len()).map(move |request| (at, request)));
        let each = pools.iter().enumerate();
        let devices = each.flat_map(|(at, pool)| (0..pool.devices.len()).map(move |device| (at, device)));
        Self {
            places: places.collect(),
            devices: devices.collect(),
            picks: Vec::new(),
            selected: HashMap::new(),
            tries: 0,
            orders,
            pools,
            taken,
        }
    }

    /// The allocations of the claims in their order; `None` if there are not enough devices.
    ///
    /// # Errors
    /// When a pool or an expression is wrong, or the search takes too long.
    pub fn run(mut self, node: &str) -> Result<Option<Vec<AllocationResult>>, String> {
        if !self.place(0)? {
            return Ok(None);
        }
        let results = (0..self.orders.len()).map(|order| results::of(&self, order, node));
        Ok(Some(results.collect()))
    }

    fn alternative(&self, pick: &Pick) -> &'s Alternative {
        &self.orders[pick.order].requests[pick.request].alternatives[pick.alternative]
    }

    fn device(&self, pick: &Pick) -> &'s Device {
        let pool = &self.pools[pick.pool];
        pool.device(&pool.devices[pick.device])
    }

    fn id(&self, pool: usize, device: usize) -> DeviceId {
        let of = &self.pools[pool];
        DeviceId::of(&of.driver, &of.name, &of.device(&of.devices[device]).name)
    }

    /// Meets the request at a place and all that follow.
    fn place(&mut self, at: usize) -> Result<bool, String> {
        let Some((order, request)) = self.places.get(at).copied() else { return Ok(true) };
        for alternative in 0..self.orders[order].requests[request].alternatives.len() {
            let pick = Pick { order, request, alternative, pool: 0, device: 0 };
            let met = match self.alternative(&pick).count {
                Some(count) => self.some(at, pick, count, 0)?,
                None => self.all(at, pick)?,
            };
            if met {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes `left` more devices, of those from a position on.
    fn some(&mut self, at: usize, pick: Pick, left: usize, from: usize) -> Result<bool, String> {
        if left == 0 {
            return self.place(at + 1);
        }
        for next in from..self.devices.len() {
            if self.devices.len() - next < left {
                break;
            }
            let (pool, device) = self.devices[next];
            let pick = Pick { pool, device, ..pick };
            if self.can_take(&pick)? {
                self.picks.push(pick);
                if self.some(at, pick, left - 1, next + 1)? {
                    return Ok(true);
                }
                self.picks.pop();
            }
        }
        Ok(false)
    }

    /// Takes all devices that are selected; at least one.
    fn all(&mut self, at: usize, pick: Pick) -> Result<bool, String> {
        let before = self.picks.len();
        if let Some(pool) = self.pools.iter().find(|pool| pool.is_incomplete) {
            let (claim, request) = (&self.orders[pick.order].key, &self.alternative(&pick).name);
            return Err(format!(
                "claim {claim}, request {request}: asks for all devices, but resource pool {}/{} is currently being updated",
                pool.driver, pool.name
            ));
        }
        for next in 0..self.devices.len() {
            let (pool, device) = self.devices[next];
            let pick = Pick { pool, device, ..pick };
            if !self.is_selected(&pick)? {
                continue;
            }
            if !self.can_take(&pick)? {
                self.picks.truncate(before);
                return Ok(false);
            }
            self.picks.push(pick);
        }
        if self.picks.len() > before && self.place(at + 1)? {
            return Ok(true);
        }
        self.picks.truncate(before);
        Ok(false)
    }

    fn is_selected(&mut self, pick: &Pick) -> Result<bool, String> {
        let of = &self.pools[pick.pool];
        if let Some(fault) = &of.fault {
            return Err(format!("pool {}/{} is invalid: {fault}", of.driver, of.name));
        }
        let request = self.places.iter().position(|place| *place == (pick.order, pick.request));
        let key = (request.unwrap_or(0), pick.alternative, pick.pool, pick.device);
        if let Some(known) = self.selected.get(&key) {
            return Ok(*known);
        }
        let (wanted, device) = (self.alternative(pick), self.device(pick));
        let selected =
            wanted.selectors.select(&of.driver, device)? && wanted.has_capacity(&of.driver, device);
        self.selected.insert(key, selected);
        Ok(selected)
    }

    fn can_take(&mut self, pick: &Pick) -> Result<bool, String> {
        self.tries += 1;
        if self.tries > MAX_TRIES {
            return Err(format!("no devices were found in {MAX_TRIES} tries"));
        }
        let has = self.picks.iter().filter(|held| held.order == pick.order).count();
        if has >= MAX_DEVICES || !self.is_selected(pick)? {
            return Ok(false);
        }
        let (wanted, device) = (self.alternative(pick), self.device(pick));
        let is_held = |held: &Pick| {
            (held.pool, held.device) == (pick.pool, pick.device) && !self.alternative(held).is_admin
        };
        if !wanted.is_admin
            && (self.taken.contains(&self.id(pick.pool, pick.device)) || self.picks.iter().any(is_held))
        {
            return Ok(false);
        }
        let counts = wanted.is_admin || counters::suffice(self, pick);
        let keeps = self.orders[pick.order].constraints().iter().all(|one| self.keeps(one, pick));
        Ok(wanted.tolerates(device) && counts && keeps)
    }

    /// Whether a constraint still holds with one device more.
    fn keeps(&self, constraint: &DeviceConstraint, pick: &Pick) -> bool {
        let concerns = |pick: &Pick| {
            let names = constraint.requests.as_deref().unwrap_or_default();
            let request = &self.orders[pick.order].requests[pick.request].name;
            let alternative = &self.alternative(pick).name;
            names.is_empty() || names.iter().any(|name| name == request || name == alternative)
        };
        if !concerns(pick) {
            return true;
        }
        let value = |pick: &Pick, name: &str| {
            let attributes = self.device(pick).attributes.as_ref()?;
            by_name(attributes, &self.pools[pick.pool].driver, name)
        };
        let others = || self.picks.iter().filter(|held| held.order == pick.order && concerns(held));
        let agrees = |name: &Option<String>, same: bool| {
            name.as_deref().is_none_or(|name| {
                let own = value(pick, name);
                own.is_some() && others().all(|other| (value(other, name) == own) == same)
            })
        };
        agrees(&constraint.match_attribute, true) && agrees(&constraint.distinct_attribute, false)
    }
}
