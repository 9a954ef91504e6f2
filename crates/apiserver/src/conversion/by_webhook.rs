//! [`ByWebhook`]: converts custom objects by the webhook of their definition. Upstream:
//! `apiextensions-apiserver/pkg/apiserver/conversion/webhook_converter.go`.
//!
//! The webhook converts; what the schema of a version wants beside is done by the row, as where versions differ in
//! their names alone.

use std::sync::Arc;
use std::time::Duration;

use api::{Error, Object, Reason};
use resources::{ConversionWebhook, Resource};

use super::review::{self, Version};
use super::{ByRow, Converter};
use crate::eventual::Eventual;
use crate::webhook::{Callee, Caller};

/// How long a webhook may take, as upstream.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module's documentation.
pub struct ByWebhook(Caller);

impl ByWebhook {
    pub fn new(caller: Caller) -> Self {
        Self(caller)
    }

    /// Has those of the objects converted that are in another version.
    async fn convert(
        &self,
        webhook: &ConversionWebhook,
        to: &str,
        objects: &mut [Object],
    ) -> Result<(), Error> {
        let others: Vec<usize> =
            objects.iter().enumerate().filter(|(_, o)| o.api_version() != to).map(|(i, _)| i).collect();
        let Some(first) = others.first().map(|first| &objects[*first]) else { return Ok(()) };
        let from = format!("{}, Kind={}", first.api_version(), first.kind());
        let failed =
            |what: String| Error::new(Reason::Unknown, format!("conversion webhook for {from} {what}"));
        let version = Version::first(&webhook.reviews).ok_or_else(|| {
            failed("does not accept known ConversionReview versions (v1, v1beta1)".to_owned())
        })?;
        let callee = Callee::read(&webhook.client).map_err(|why| failed(format!("failed: {why}")))?;
        let uid = base::random::uuid();
        let sent: Vec<&Object> = others.iter().map(|i| &objects[*i]).collect();
        let body = review::body(version, &uid, to, &sent).map_err(Error::internal)?;
        let answer = self.0.post(&Arc::new(callee), body, PATIENCE).await;
        let answer = answer.map_err(|failure| failed(format!("failed: {}", failure.why)))?;
        let converted = review::read(version, &uid, to, &sent, &answer).map_err(failed)?;
        for (i, converted) in others.into_iter().zip(converted) {
            objects[i] = converted;
        }
        Ok(())
    }
}

impl Converter for ByWebhook {
    fn concerns(&self, row: &Resource) -> bool {
        ByRow.concerns(row)
    }

    fn to_stored<'a>(&'a self, row: &'a Resource, object: &'a mut Object) -> Eventual<'a, Result<(), Error>> {
        let to = row.storage_version.to_string();
        match &row.conversion {
            Some(webhook) if object.api_version() != to => Eventual::later(async move {
                self.convert(webhook, &to, std::slice::from_mut(object)).await?;
                ByRow.to_stored(row, object).await
            }),
            _ => ByRow.to_stored(row, object),
        }
    }

    fn to_served<'a>(
        &'a self,
        row: &'a Resource,
        objects: &'a mut [Object],
    ) -> Eventual<'a, Result<(), Error>> {
        let Some(webhook) = &row.conversion else { return ByRow.to_served(row, objects) };
        let to = row.group_version().to_string();
        if objects.iter().all(|object| object.api_version() == to) {
            return ByRow.to_served(row, objects);
        }
        Eventual::later(async move {
            self.convert(webhook, &to, objects).await?;
            ByRow.to_served(row, objects).await
        })
    }
}
