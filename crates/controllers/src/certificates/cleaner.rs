//! Removes requests that nobody needs any more.
//!
//! A day without a verdict, an hour after a verdict, or when the certificate has ended. Looked at every ten minutes;
//! times are the objects' own. Upstream: pkg/controller/certificates/cleaner.

use std::time::Duration;

use api::certificate::{APPROVED, DENIED, FAILED};
use api::meta::Meta;
use client::Cache;
use client::write::{self, Deletion, Expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use x509_parser::pem::Pem;

use crate::Context;

const INTERVAL: Duration = Duration::from_secs(10 * 60);
const PENDING_HOURS: i64 = 24;
const JUDGED_HOURS: i64 = 1;

/// Why a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    NobodyAnswered,
    Judged,
    CertificateEnded,
}

pub async fn run(context: Context) {
    let scope = context.scope();
    let context = scope.context();
    let requests = Cache::<CertificateSigningRequest>::builder(Api::all(context.client.clone()))
        .clock(context.clock.clone())
        .start(&context.tasks);
    let shutdown = context.shutdown().clone();
    let clean = async {
        requests.synced().await;
        loop {
            sweep(context, &requests).await;
            context.clock.sleep(INTERVAL).await;
        }
    };
    tokio::select! {
        // A deletion that is cut off is repeated by the next start.
        () = shutdown.cancelled() => {}
        () = clean => {}
    }
}

async fn sweep(context: &Context, requests: &Cache<CertificateSigningRequest>) {
    let api: Api<CertificateSigningRequest> = Api::all(context.client.clone());
    for request in requests.list() {
        let Some(reason) = reason(&request, context.clock.now()) else { continue };
        tracing::info!(request = request.name(), ?reason, "certificate request removed");
        let deletion = Deletion { expect: Expect::uid(request.uid()), ..Deletion::default() };
        if let Err(error) = write::delete(&api, request.name(), deletion).await {
            tracing::warn!(error = %error.cause(), "{error}");
        }
    }
}

fn reason(request: &CertificateSigningRequest, now: Timestamp) -> Option<Reason> {
    let older = |at: Option<Timestamp>, hours: i64| {
        at.is_some_and(|at| now.duration_since(at) > SignedDuration::from_hours(hours))
    };
    let status = request.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
    if conditions.is_empty() && older(created, PENDING_HOURS) {
        return Some(Reason::NobodyAnswered);
    }
    let judged = conditions.iter().any(|condition| {
        [APPROVED, DENIED, FAILED].contains(&condition.type_.as_str())
            && older(condition.last_update_time.as_ref().map(|time| time.0), JUDGED_HOURS)
    });
    if judged {
        return Some(Reason::Judged);
    }
    let certificate = status.and_then(|status| status.certificate.as_ref())?;
    let block = Pem::iter_from_buffer(&certificate.0).next()?.ok()?;
    let ends = block.parse_x509().ok()?.validity().not_after.timestamp();
    (ends < now.as_second()).then_some(Reason::CertificateEnded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition as Condition;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3_600).unwrap()
    }

    fn request(verdict: Option<(&str, i64)>) -> CertificateSigningRequest {
        let mut request = CertificateSigningRequest::default();
        request.metadata.creation_timestamp = Some(Time(at(100)));
        if let Some((kind, hour)) = verdict {
            request.status.get_or_insert_default().conditions = Some(vec![Condition {
                type_: kind.to_owned(),
                last_update_time: Some(Time(at(hour))),
                ..Condition::default()
            }]);
        }
        request
    }

    #[test]
    fn request_goes_a_day_after_it_was_made_or_an_hour_after_its_verdict() {
        assert_eq!(reason(&request(None), at(124)), None);
        assert_eq!(reason(&request(None), at(125)), Some(Reason::NobodyAnswered));
        for verdict in [APPROVED, DENIED, FAILED] {
            assert_eq!(reason(&request(Some((verdict, 110))), at(111)), None);
            assert_eq!(reason(&request(Some((verdict, 110))), at(112)), Some(Reason::Judged));
        }
        assert_eq!(reason(&request(Some(("Other", 100))), at(200)), None);
    }
}
