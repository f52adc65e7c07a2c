//! The options of requests, parsed once: of writes, of lists and watches, of deletions.

use api::field::{FieldError, Path};
use api::scheme::Resource;
use api::{fields, label};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use patch::managed::Contention;
use store::Revision;

use crate::error::ApiError;
use crate::object::Object;
use crate::request::Query;
use crate::selectable;

/// Whether a write is carried out or only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    Stored,
    DryRun,
}

/// What happens to fields that the kind does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    pub persistence: Persistence,
    pub field_validation: FieldValidation,
}

/// Longest name of a field manager in bytes, as upstream's.
const MANAGER_BYTES_MAX: usize = 128;

/// The manager that a User-Agent stands for: what is before the first slash.
pub fn manager_of(user_agent: &str) -> &str {
    // A header is visible ASCII, so that any byte is a boundary.
    let program = user_agent.split('/').next().unwrap_or_default();
    program.get(..MANAGER_BYTES_MAX).unwrap_or(program)
}

/// Refuses names that upstream refuses.
fn check_manager(name: &str, errors: &mut Vec<FieldError>) {
    let path = Path::new("fieldManager");
    if name.len() > MANAGER_BYTES_MAX {
        errors.push(FieldError::too_long(&path, MANAGER_BYTES_MAX));
    }
    if name.chars().any(char::is_control) {
        let detail = "should only contain printable characters";
        errors.push(FieldError::invalid(&path, name, detail));
    }
}

/// The options of a PATCH that applies.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions<'q> {
    pub write: WriteOptions,
    pub manager: &'q str,
    pub contention: Contention,
}

impl<'q> ApplyOptions<'q> {
    pub fn parse(query: &'q Query) -> Result<ApplyOptions<'q>, ApiError> {
        let manager = query.get("fieldManager").unwrap_or_default();
        let mut errors = Vec::new();
        if manager.is_empty() {
            let path = Path::new("fieldManager");
            errors.push(FieldError::required(&path, "is required for apply patch"));
        }
        let write = WriteOptions::read(query, errors, "PatchOptions")?;
        let contention = if query.flag("force") { Contention::Force } else { Contention::Refuse };
        Ok(ApplyOptions { write, manager, contention })
    }
}

impl WriteOptions {
    /// `kind` is the options kind that upstream names in its refusal: `CreateOptions` and the like.
    pub fn parse(query: &Query, kind: &str) -> Result<WriteOptions, ApiError> {
        let mut errors = Vec::new();
        if kind == "PatchOptions" && query.get("force").is_some() {
            errors
                .push(FieldError::forbidden(&Path::new("force"), "may not be specified for non-apply patch"));
        }
        WriteOptions::read(query, errors, kind)
    }

    fn read(query: &Query, mut errors: Vec<FieldError>, kind: &str) -> Result<WriteOptions, ApiError> {
        check_manager(query.get("fieldManager").unwrap_or_default(), &mut errors);
        let dry_run: Vec<&str> = query.all("dryRun").filter(|value| !value.is_empty()).collect();
        let persistence = dry_run_of(&dry_run, &mut errors);
        let field_validation = match query.get("fieldValidation").unwrap_or("") {
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            "Ignore" => FieldValidation::Ignore,
            other => {
                let path = Path::new("fieldValidation");
                errors.push(FieldError::not_supported(&path, other, &["Ignore", "Warn", "Strict"]));
                FieldValidation::Warn
            }
        };
        if errors.is_empty() {
            Ok(WriteOptions { persistence, field_validation })
        } else {
            Err(ApiError::invalid("meta.k8s.io", kind, "", &errors))
        }
    }
}

fn dry_run_of(values: &[&str], errors: &mut Vec<FieldError>) -> Persistence {
    if values.is_empty() {
        return Persistence::Stored;
    }
    if values.iter().any(|value| *value != "All") {
        let shown: Vec<serde_json::Value> = values.iter().map(|value| (*value).into()).collect();
        errors.push(FieldError::not_supported(&Path::new("dryRun"), shown, &["All"]));
    }
    Persistence::DryRun
}

/// Which objects of a resource are meant.
#[derive(Debug, Clone)]
pub struct Selection {
    pub namespace: String,
    pub labels: label::Selector,
    pub fields: fields::Selector,
}

impl Selection {
    pub fn matches(&self, object: &Object) -> bool {
        (self.namespace.is_empty() || object.header.namespace() == self.namespace)
            && self.labels.matches_by(|key| object.header.label(key))
            && self.fields.matches(|field| object.header.field(field))
    }

    pub fn is_by_selector(&self) -> bool {
        !self.labels.is_everything() || !self.fields.is_everything()
    }

    /// The beginning of the keys that can match.
    pub fn prefix(&self) -> String {
        if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) }
    }
}

/// How the resourceVersion of a list is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The most recent.
    Latest,
    /// Whatever is at hand.
    Any,
    NotOlderThan(Revision),
    Exact(Revision),
}

#[derive(Debug, Clone)]
pub struct ListOptions {
    pub selection: Selection,
    pub limit: Option<usize>,
    pub continue_token: Option<String>,
    pub freshness: Freshness,
    pub timeout_seconds: Option<u64>,
    pub bookmarks: bool,
    pub initial_events: Option<bool>,
    /// As sent; nothing if unset.
    pub resource_version: Option<Revision>,
}

impl ListOptions {
    /// `selectable` are the kind's fields beside metadata.name and metadata.namespace, as they are stored.
    pub fn parse(
        query: &Query,
        namespace: &str,
        requested: &Resource,
        selectable: &[&str],
        watch: bool,
    ) -> Result<ListOptions, ApiError> {
        let labels = label::Selector::parse(query.get("labelSelector").unwrap_or(""))
            .map_err(|error| ApiError::bad_request(format!("unable to parse requirement: {error}")))?;
        let mut fields = fields::Selector::parse(query.get("fieldSelector").unwrap_or(""))
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        for term in &mut fields.terms {
            if let Some(stored) = selectable::stored_field(requested, selectable, &term.field)? {
                term.field = stored;
            }
        }
        let version = match query.get("resourceVersion").unwrap_or("") {
            "" => None,
            text => Some(parse_revision(text)?),
        };
        let limit = query.number("limit")?.filter(|limit| *limit > 0);
        let continue_token = query.get("continue").filter(|token| !token.is_empty()).map(str::to_owned);
        let matching = query.get("resourceVersionMatch").unwrap_or("");
        let initial_events = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        check_matching(matching, version, watch, initial_events, continue_token.is_some())?;
        let freshness = match (version, matching) {
            (None, _) => Freshness::Latest,
            (Some(version), "Exact") => Freshness::Exact(version),
            (Some(Revision(0)), _) => Freshness::Any,
            // Upstream: a limit without a match mode asks for exactly that version; everything else for no older.
            (Some(version), "") if limit.is_some() => Freshness::Exact(version),
            (Some(version), _) => Freshness::NotOlderThan(version),
        };
        Ok(ListOptions {
            selection: Selection { namespace: namespace.to_owned(), labels, fields },
            limit: limit.and_then(|limit| usize::try_from(limit).ok()),
            continue_token,
            freshness,
            timeout_seconds: query.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()),
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events,
            resource_version: version,
        })
    }

    /// A continue token has its own revision.
    pub fn refuse_revision_beside_token(&self) -> Result<(), ApiError> {
        match self.resource_version {
            Some(Revision(1..)) => {
                Err(ApiError::bad_request("specifying resource version is not allowed when using continue"))
            }
            _ => Ok(()),
        }
    }
}

/// The number of a resourceVersion.
pub fn parse_revision(text: &str) -> Result<Revision, ApiError> {
    let why = match text.parse() {
        Ok(revision) => return Ok(Revision(revision)),
        Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => "value out of range",
        Err(_) => "invalid syntax",
    };
    let path = Path::new("resourceVersion");
    let error = FieldError::invalid(&path, text, format!("strconv.ParseUint: parsing {text:?}: {why}"));
    Err(ApiError::bad_request(format!("invalid resource version: {error}")))
}

/// Upstream: `apimachinery/pkg/apis/meta/internalversion/validation`, with the WatchList feature.
fn check_matching(
    matching: &str,
    version: Option<Revision>,
    watch: bool,
    initial_events: Option<bool>,
    continued: bool,
) -> Result<(), ApiError> {
    const WITH_CONTINUE: &str = "resourceVersionMatch is forbidden when continue is provided";
    let path = Path::new("resourceVersionMatch");
    let mut errors = Vec::new();
    if watch {
        if initial_events.is_some() && matching != "NotOlderThan" {
            errors.push(FieldError::forbidden(
                &path,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        if !matching.is_empty() {
            if initial_events.is_none() {
                errors.push(FieldError::forbidden(
                    &path,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            if matching != "NotOlderThan" {
                errors.push(FieldError::not_supported(&path, matching, &["NotOlderThan"]));
            }
            if continued {
                errors.push(FieldError::forbidden(&path, WITH_CONTINUE));
            }
        }
    } else {
        if !matching.is_empty() {
            if version.is_none() {
                errors.push(FieldError::forbidden(
                    &path,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            if continued {
                errors.push(FieldError::forbidden(&path, WITH_CONTINUE));
            }
            if !matches!(matching, "Exact" | "NotOlderThan") {
                errors.push(FieldError::not_supported(&path, matching, &["Exact", "NotOlderThan", ""]));
            }
            if matching == "Exact" && version == Some(Revision(0)) {
                let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                errors.push(FieldError::forbidden(&path, detail));
            }
        }
        if initial_events.is_some() {
            let detail = "sendInitialEvents is forbidden for list";
            errors.push(FieldError::forbidden(&Path::new("sendInitialEvents"), detail));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &errors)) }
}

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

#[derive(Debug, Clone)]
pub struct Deletion {
    pub grace_seconds: Option<i64>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    /// Nothing if the client leaves it to the kind's default.
    pub propagation: Option<Propagation>,
    /// The client asked for dependents to go first, or (in the words of before 1.9) not to be left.
    pub waits: bool,
    pub persistence: Persistence,
}

impl Deletion {
    /// From the body's options, or the query where there is no body.
    pub fn parse(query: &Query, body: Option<DeleteOptions>) -> Result<Deletion, ApiError> {
        let options = match body {
            Some(options) => options,
            None => DeleteOptions {
                grace_period_seconds: query.number("gracePeriodSeconds")?,
                propagation_policy: query.get("propagationPolicy").map(str::to_owned),
                orphan_dependents: query.get("orphanDependents").map(|_| query.flag("orphanDependents")),
                dry_run: Some(query.all("dryRun").filter(|v| !v.is_empty()).map(str::to_owned).collect()),
                ..DeleteOptions::default()
            },
        };
        let mut errors = Vec::new();
        let policy = Path::new("propagationPolicy");
        if options.propagation_policy.is_some() && options.orphan_dependents.is_some() {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid(&policy, options.propagation_policy.clone(), detail));
        }
        let propagation = match (options.propagation_policy.as_deref(), options.orphan_dependents) {
            (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
            (None, None) => None,
            (Some(other), _) => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported(&policy, other, &supported));
                None
            }
        };
        let dry_run = options.dry_run.unwrap_or_default();
        let dry_run: Vec<&str> = dry_run.iter().map(String::as_str).collect();
        let persistence = dry_run_of(&dry_run, &mut errors);
        if !errors.is_empty() {
            return Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &errors));
        }
        let preconditions = options.preconditions.unwrap_or_default();
        let waits = propagation == Some(Propagation::Foreground) || options.orphan_dependents == Some(false);
        Ok(Deletion {
            grace_seconds: options.grace_period_seconds,
            uid: preconditions.uid,
            resource_version: preconditions.resource_version,
            propagation,
            waits,
            persistence,
        })
    }
}
