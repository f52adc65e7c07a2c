//! Probes and lifecycle hooks.

use k8s_openapi::api::core::v1::{
    ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Complaints, text};
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;

/// Which probe of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeKind {
    Liveness,
    Readiness,
    Startup,
}

pub(super) fn probe(probe: &Probe, kind: ProbeKind, path: &Path) -> FieldErrors {
    let mut errors = Handlers {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    }
    .check(0, path);
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (field, number) in numbers {
        errors.non_negative(&path.child(field), i64::from(number.unwrap_or_default()));
    }
    let grace_path = path.child("terminationGracePeriodSeconds");
    if let Some(grace) = probe.termination_grace_period_seconds {
        if grace <= 0 {
            errors.push(FieldError::invalid(&grace_path, grace, "must be greater than 0"));
        }
        if kind == ProbeKind::Readiness {
            errors.push(FieldError::invalid(&grace_path, grace, "must not be set for readinessProbes"));
        }
    }
    let successes = probe.success_threshold.unwrap_or_default();
    if kind != ProbeKind::Readiness && successes != 1 {
        errors.push(FieldError::invalid(&path.child("successThreshold"), successes, "must be 1"));
    }
    errors
}

pub(super) fn lifecycle(lifecycle: &Lifecycle, grace_seconds: i64, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (field, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(hook) = hook {
            errors.extend(Handlers::of(hook).check(grace_seconds, &path.child(field)));
        }
    }
    errors
}

struct Handlers<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

impl<'a> Handlers<'a> {
    fn of(hook: &'a LifecycleHandler) -> Self {
        Handlers {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc: None,
            sleep: hook.sleep.as_ref(),
        }
    }

    /// Exactly one way to act, and that one well-formed.
    fn check(&self, grace_seconds: i64, path: &Path) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let mut found = 0;
        let mut first = |errors: &mut FieldErrors, field: &str| {
            found += 1;
            if found > 1 {
                let detail = "may not specify more than 1 handler type";
                errors.push(FieldError::forbidden(&path.child(field), detail));
            }
            found == 1
        };
        if let Some(action) = self.exec
            && first(&mut errors, "exec")
            && action.command.as_deref().unwrap_or_default().is_empty()
        {
            errors.push(FieldError::required(&path.child("exec").child("command"), ""));
        }
        if let Some(action) = self.http_get
            && first(&mut errors, "httpGet")
        {
            errors.extend(http_get(action, &path.child("httpGet")));
        }
        if let Some(action) = self.tcp_socket
            && first(&mut errors, "tcpSocket")
        {
            errors.extend(port(&action.port, &path.child("tcpSocket").child("port")));
        }
        if let Some(action) = self.grpc
            && first(&mut errors, "grpc")
        {
            let path = path.child("grpc").child("port");
            errors.extend(port(&IntOrString::Int(action.port), &path));
        }
        if let Some(action) = self.sleep
            && first(&mut errors, "sleep")
            && !(0..=grace_seconds).contains(&action.seconds)
        {
            let detail = format!(
                "must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds}). Additionally, \
                 when PodLifecycleSleepActionAllowZero feature gate is enabled, zero is a valid value."
            );
            errors.push(FieldError::invalid(&path.child("sleep"), action.seconds, detail));
        }
        if found == 0 {
            errors.push(FieldError::required(path, "must specify a handler type"));
        }
        errors
    }
}

fn http_get(action: &HTTPGetAction, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    errors.required_text(&path.child("path"), text(&action.path));
    errors.extend(port(&action.port, &path.child("port")));
    errors.one_of(&path.child("scheme"), text(&action.scheme), &["HTTP", "HTTPS"]);
    for header in action.http_headers.iter().flatten() {
        errors.syntax(&path.child("httpHeaders"), &header.name, names::http_header_name(&header.name));
    }
    errors
}

fn port(port: &IntOrString, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    match port {
        IntOrString::Int(number) => {
            let complaints = names::port_number(i64::from(*number));
            errors.extend(complaints.into_iter().map(|detail| FieldError::invalid(path, *number, detail)));
        }
        IntOrString::String(name) => errors.syntax(path, name, names::port_name(name)),
    }
    errors
}
