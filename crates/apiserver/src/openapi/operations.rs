//! The paths and operations of each group and version, in a form from which v2 and v3 are written.

use api::scheme::{RESOURCES, Resource, Subresource};

use super::schemas::{DELETE_OPTIONS, PATCH, STATUS, list_definition};

/// Media types of PATCH bodies.
pub(super) const PATCH_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// A query parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameter {
    pub name: &'static str,
    pub kind: &'static str,
    pub description: &'static str,
}

const fn boolean(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind: "boolean", description }
}

const fn integer(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind: "integer", description }
}

const fn string(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind: "string", description }
}

const DRY_RUN: Parameter = string("dryRun", "When present, modifications are not persisted: All.");
const LISTING: &[Parameter] = &[
    boolean("allowWatchBookmarks", "Requests watch events of type BOOKMARK."),
    string("continue", "The continue token of the previous page."),
    string("fieldSelector", "Restricts the objects by their fields."),
    string("labelSelector", "Restricts the objects by their labels."),
    integer("limit", "The maximum number of objects in one page."),
    string("resourceVersion", "Constrains what resource versions a request may be served from."),
    string("resourceVersionMatch", "How resourceVersion is applied."),
    boolean("sendInitialEvents", "Begins a watch with the objects that exist."),
    integer("timeoutSeconds", "Ends the call after this time."),
    boolean("watch", "Streams changes instead of listing."),
];
const CREATING: &[Parameter] = &[
    DRY_RUN,
    string("fieldManager", "The name of the actor that is making these changes."),
    string("fieldValidation", "What to do about unknown or duplicate fields: Ignore, Warn or Strict."),
];
const PATCHING: &[Parameter] = &[
    DRY_RUN,
    string("fieldManager", "The name of the actor that is making these changes."),
    string("fieldValidation", "What to do about unknown or duplicate fields: Ignore, Warn or Strict."),
    boolean("force", "Force is going to \"force\" Apply requests."),
];
const DELETING: &[Parameter] = &[
    DRY_RUN,
    integer("gracePeriodSeconds", "The time before the object is deleted."),
    boolean("orphanDependents", "Deprecated: use propagationPolicy."),
    string("propagationPolicy", "Whether and how dependents are deleted."),
];
const LOGS: &[Parameter] = &[
    string("container", "The container of the logs; the only one if omitted."),
    boolean("follow", "Follows the log stream."),
    integer("limitBytes", "How many bytes to send at most."),
    boolean("previous", "Logs of the previous container."),
    integer("sinceSeconds", "Logs of the last seconds only."),
    integer("tailLines", "The last lines only."),
    boolean("timestamps", "A timestamp before each line."),
];
const CONNECTING: &[Parameter] = &[
    string("command", "The command to run, one argument a parameter."),
    string("container", "The container; the only one if omitted."),
    boolean("stdin", "Redirects standard input."),
    boolean("stdout", "Redirects standard output."),
    boolean("stderr", "Redirects standard error."),
    boolean("tty", "Allocates a terminal."),
];

/// What an operation sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Object(String),
    /// Options that may be left out.
    Optional(&'static str),
    Patch,
}

/// One method on one path.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub method: &'static str,
    /// `x-kubernetes-action`.
    pub action: &'static str,
    pub id: String,
    pub description: String,
    pub parameters: Vec<Parameter>,
    pub body: Body,
    /// Definition of the answer; `None` for a stream of text.
    pub response: Option<String>,
    pub codes: &'static [(&'static str, &'static str)],
    /// Group, version and kind.
    pub kind: (&'static str, &'static str, &'static str),
    pub tag: String,
}

#[derive(Debug, Clone)]
pub(super) struct Path {
    pub path: String,
    /// `name`, `namespace`.
    pub parameters: Vec<&'static str>,
    pub operations: Vec<Operation>,
}

/// A group and version with its resources.
#[derive(Debug, Clone)]
pub(super) struct GroupVersion {
    pub group: &'static str,
    pub version: &'static str,
    pub resources: Vec<&'static Resource>,
}

impl GroupVersion {
    /// `api/v1` or `apis/apps/v1`.
    pub fn path(&self) -> String {
        match self.group {
            "" => format!("api/{}", self.version),
            group => format!("apis/{group}/{}", self.version),
        }
    }

    pub fn paths(&self) -> Vec<Path> {
        self.resources.iter().flat_map(|resource| paths_of(self, resource)).collect()
    }

    /// `Core`, `RbacAuthorization`: the group's part of an operation id.
    fn camel(&self) -> String {
        if self.group.is_empty() {
            return "Core".to_owned();
        }
        let name = self.group.strip_suffix(".k8s.io").unwrap_or(self.group);
        name.split('.').map(capitalized).collect()
    }

    /// `core_v1`.
    fn tag(&self) -> String {
        let camel = self.camel();
        let mut letters = camel.chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        format!("{}{}_{}", first.unwrap_or_default(), letters.as_str(), self.version)
    }
}

pub(super) fn group_versions() -> Vec<GroupVersion> {
    let mut versions: Vec<GroupVersion> = Vec::new();
    for resource in RESOURCES {
        match versions.iter_mut().find(|v| (v.group, v.version) == (resource.group, resource.version)) {
            Some(version) => version.resources.push(resource),
            None => versions.push(GroupVersion {
                group: resource.group,
                version: resource.version,
                resources: vec![resource],
            }),
        }
    }
    versions
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

const OK: &[(&str, &str)] = &[("200", "OK")];
const CREATED: &[(&str, &str)] = &[("200", "OK"), ("201", "Created"), ("202", "Accepted")];
const REPLACED: &[(&str, &str)] = &[("200", "OK"), ("201", "Created")];
const DELETED: &[(&str, &str)] = &[("200", "OK"), ("202", "Accepted")];

/// What the operations of one resource share.
struct Naming<'a> {
    version: &'a GroupVersion,
    resource: &'static Resource,
}

impl Naming<'_> {
    /// `readCoreV1NamespacedPodStatus`.
    fn id(&self, verb: &str, middle: &str, suffix: &str) -> String {
        let scope = if self.resource.namespaced { "Namespaced" } else { "" };
        let (group, version) = (self.version.camel(), capitalized(self.version.version));
        format!("{verb}{group}{version}{middle}{scope}{}{suffix}", self.resource.kind)
    }

    fn operation(&self, method: &'static str, action: &'static str, id: String, verb: &str) -> Operation {
        Operation {
            method,
            action,
            id,
            description: format!("{verb} {}", self.resource.kind),
            parameters: Vec::new(),
            body: Body::None,
            response: Some(self.resource.definition.to_owned()),
            codes: OK,
            kind: (self.resource.group, self.resource.version, self.resource.kind),
            tag: self.version.tag(),
        }
    }
}

fn paths_of(version: &GroupVersion, resource: &'static Resource) -> Vec<Path> {
    let naming = Naming { version, resource };
    let base = format!("/{}", version.path());
    let (collection, scope) = match resource.namespaced {
        true => (format!("{base}/namespaces/{{namespace}}/{}", resource.plural), vec!["namespace"]),
        false => (format!("{base}/{}", resource.plural), vec![]),
    };
    let item_parameters: Vec<&str> = std::iter::once("name").chain(scope.iter().copied()).collect();
    let mut paths = Vec::new();
    if resource.namespaced && resource.verbs.contains(&"list") {
        let mut list = list(&naming);
        let (group, name) = (version.camel(), capitalized(version.version));
        list.id = format!("list{group}{name}{}ForAllNamespaces", resource.kind);
        let path = format!("{base}/{}", resource.plural);
        paths.push(Path { path, parameters: vec![], operations: vec![list] });
    }
    paths.push(Path { path: collection.clone(), parameters: scope, operations: on_collection(&naming) });
    paths.push(Path {
        path: format!("{collection}/{{name}}"),
        parameters: item_parameters.clone(),
        operations: on_item(&naming, resource.verbs, "", None),
    });
    for sub in resource.subresources {
        paths.push(Path {
            path: format!("{collection}/{{name}}/{}", sub.name),
            parameters: item_parameters.clone(),
            operations: on_subresource(&naming, sub),
        });
    }
    paths.retain(|path| !path.operations.is_empty());
    paths
}

fn list(naming: &Naming<'_>) -> Operation {
    Operation {
        parameters: LISTING.to_vec(),
        response: Some(list_definition(naming.resource)),
        ..naming.operation("get", "list", naming.id("list", "", ""), "list or watch objects of kind")
    }
}

fn on_collection(naming: &Naming<'_>) -> Vec<Operation> {
    let verbs = naming.resource.verbs;
    let mut operations = Vec::new();
    if verbs.contains(&"list") {
        operations.push(list(naming));
    }
    if verbs.contains(&"create") {
        operations.push(Operation {
            parameters: CREATING.to_vec(),
            body: Body::Object(naming.resource.definition.to_owned()),
            codes: CREATED,
            ..naming.operation("post", "post", naming.id("create", "", ""), "create a")
        });
    }
    if verbs.contains(&"deletecollection") {
        let id = naming.id("delete", "Collection", "");
        operations.push(Operation {
            parameters: DELETING.iter().chain(LISTING).copied().collect(),
            body: Body::Optional(DELETE_OPTIONS),
            response: Some(STATUS.to_owned()),
            ..naming.operation("delete", "deletecollection", id, "delete collection of")
        });
    }
    operations
}

/// get, put, patch and delete of an object or of a part of it that is read and written like one.
fn on_item(naming: &Naming<'_>, verbs: &[&str], suffix: &str, sub: Option<&Subresource>) -> Vec<Operation> {
    let object = Body::Object(naming.resource.definition.to_owned());
    let mut operations = Vec::new();
    let part = sub.map_or(String::new(), |sub| format!("{} of the specified ", sub.name));
    if verbs.contains(&"get") {
        let id = naming.id("read", "", suffix);
        operations.push(naming.operation("get", "get", id, &format!("read {part}the specified")));
    }
    if verbs.contains(&"update") {
        let id = naming.id("replace", "", suffix);
        operations.push(Operation {
            parameters: CREATING.to_vec(),
            body: object,
            codes: REPLACED,
            ..naming.operation("put", "put", id, &format!("replace {part}the specified"))
        });
    }
    if verbs.contains(&"patch") {
        let id = naming.id("patch", "", suffix);
        operations.push(Operation {
            parameters: PATCHING.to_vec(),
            body: Body::Patch,
            codes: REPLACED,
            ..naming.operation("patch", "patch", id, &format!("partially update {part}the specified"))
        });
    }
    if verbs.contains(&"delete") && sub.is_none() {
        operations.push(Operation {
            parameters: DELETING.to_vec(),
            body: Body::Optional(DELETE_OPTIONS),
            response: Some(STATUS.to_owned()),
            codes: DELETED,
            ..naming.operation("delete", "delete", naming.id("delete", "", suffix), "delete a")
        });
    }
    operations
}

fn on_subresource(naming: &Naming<'_>, sub: &Subresource) -> Vec<Operation> {
    let suffix = capitalized(sub.name);
    let mut operations = match sub.name {
        "exec" | "attach" | "portforward" => [("get", "Get"), ("post", "Post")]
            .into_iter()
            .map(|(method, name)| {
                let id = naming.id("connect", name, &suffix);
                let connect = naming.operation(method, "connect", id, &format!("connect to {} of", sub.name));
                Operation { parameters: CONNECTING.to_vec(), response: None, ..connect }
            })
            .collect(),
        "log" => {
            let read = naming.operation("get", "get", naming.id("read", "", &suffix), "read log of");
            vec![Operation { parameters: LOGS.to_vec(), response: None, ..read }]
        }
        _ if sub.verbs == ["create"] => {
            let (group, version) = sub.group_version.unwrap_or(("", "v1"));
            // `authentication.k8s.io` is the package `authentication`.
            let package = group.split('.').next().filter(|package| !package.is_empty()).unwrap_or("core");
            let definition = format!("io.k8s.api.{package}.{version}.{}", sub.kind);
            let id = naming.id("create", "", &suffix);
            vec![Operation {
                parameters: CREATING.to_vec(),
                body: Body::Object(definition.clone()),
                response: Some(definition),
                codes: CREATED,
                ..naming.operation("post", "post", id, &format!("create {} of", sub.name))
            }]
        }
        _ => on_item(naming, sub.verbs, &suffix, Some(sub)),
    };
    let (group, version) = sub.group_version.unwrap_or((naming.resource.group, naming.resource.version));
    for operation in operations.iter_mut().filter(|_| !sub.kind.is_empty()) {
        operation.kind = (group, version, sub.kind);
    }
    operations
}

/// What every operation may be asked in addition.
pub(super) const PRETTY: Parameter = string("pretty", "Indents the answer if 'true'.");

/// The body of a PATCH.
pub(super) const PATCH_DEFINITION: &str = PATCH;

pub(super) fn path_parameter(name: &'static str) -> Parameter {
    match name {
        "namespace" => string(name, "object name and auth scope, such as for teams and projects"),
        _ => string(name, "name of the object"),
    }
}
