//! A set of field paths, as a tree: what one manager owns.
//!
//! Upstream: `structured-merge-diff/fieldpath/set.go`. A path is a member or not; its children's membership says nothing
//! of its own. Levels are sorted, so that every operation is one merge of two sorted lists.

use std::cmp::Ordering;

use super::element::Element;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set<'a> {
    nodes: Vec<Node<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<'a> {
    pub element: Element<'a>,
    pub member: bool,
    pub children: Set<'a>,
}

impl Node<'_> {
    fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

/// What a node of two sets becomes; nothing where it is left out.
type Combine<'a> = fn(Option<&Node<'a>>, Option<&Node<'a>>) -> Option<Node<'a>>;

impl<'a> Set<'a> {
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn nodes(&self) -> &[Node<'a>] {
        &self.nodes
    }

    /// Adds a node at the end; [`Set::sorted`] must be called when all are in.
    pub(super) fn push(&mut self, element: Element<'a>, member: bool, children: Set<'a>) {
        if member || !children.is_empty() {
            self.nodes.push(Node { element, member, children });
        }
    }

    /// Sorted, with nodes of the same element made one.
    pub(super) fn sorted(mut self) -> Set<'a> {
        if !self.nodes.windows(2).all(|pair| pair[0].element < pair[1].element) {
            self.nodes.sort_by(|a, b| a.element.cmp(&b.element));
            let mut nodes: Vec<Node<'a>> = Vec::with_capacity(self.nodes.len());
            for node in self.nodes {
                match nodes.last_mut().filter(|last| last.element == node.element) {
                    Some(last) => {
                        last.member |= node.member;
                        last.children = last.children.union(&node.children);
                    }
                    None => nodes.push(node),
                }
            }
            self.nodes = nodes;
        }
        self
    }

    pub fn insert(&mut self, path: &[Element<'a>]) {
        let Some((first, rest)) = path.split_first() else { return };
        let at = match self.nodes.binary_search_by(|node| node.element.cmp(first)) {
            Ok(at) => at,
            Err(at) => {
                let node = Node { element: first.clone(), member: false, children: Set::default() };
                self.nodes.insert(at, node);
                at
            }
        };
        if rest.is_empty() {
            self.nodes[at].member = true;
        } else {
            self.nodes[at].children.insert(rest);
        }
    }

    pub fn node(&self, element: &Element<'_>) -> Option<&Node<'a>> {
        // The lifetimes of the two differ, their order does not.
        self.nodes.binary_search_by(|node| node.element.cmp(element)).ok().map(|at| &self.nodes[at])
    }

    pub fn has(&self, path: &[Element<'_>]) -> bool {
        match path {
            [] => false,
            [last] => self.node(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self.node(first).is_some_and(|node| node.children.has(rest)),
        }
    }

    fn combined(&self, other: &Set<'a>, combine: Combine<'a>) -> Set<'a> {
        let mut nodes = Vec::with_capacity(self.nodes.len().max(other.nodes.len()));
        let (mut left, mut right) = (self.nodes.iter().peekable(), other.nodes.iter().peekable());
        loop {
            let node = match (left.peek(), right.peek()) {
                (None, None) => return Set { nodes },
                (Some(_), None) => combine(left.next(), None),
                (None, Some(_)) => combine(None, right.next()),
                (Some(a), Some(b)) => match a.element.cmp(&b.element) {
                    Ordering::Less => combine(left.next(), None),
                    Ordering::Greater => combine(None, right.next()),
                    Ordering::Equal => combine(left.next(), right.next()),
                },
            };
            nodes.extend(node.filter(|node| !node.is_empty()));
        }
    }

    pub fn union(&self, other: &Set<'a>) -> Set<'a> {
        if other.is_empty() {
            return self.clone();
        }
        self.combined(other, |a, b| match (a, b) {
            (Some(a), Some(b)) => Some(Node {
                element: a.element.clone(),
                member: a.member || b.member,
                children: a.children.union(&b.children),
            }),
            (one, other) => one.or(other).cloned(),
        })
    }

    pub fn intersection(&self, other: &Set<'a>) -> Set<'a> {
        self.combined(other, |a, b| {
            let (a, b) = (a?, b?);
            Some(Node {
                element: a.element.clone(),
                member: a.member && b.member,
                children: a.children.intersection(&b.children),
            })
        })
    }

    /// Without the members of `other`; what is below them stays.
    pub fn difference(&self, other: &Set<'a>) -> Set<'a> {
        self.combined(other, |a, b| {
            let a = a?;
            Some(match b {
                None => a.clone(),
                Some(b) => Node {
                    element: a.element.clone(),
                    member: a.member && !b.member,
                    children: a.children.difference(&b.children),
                },
            })
        })
    }

    /// Without the members of `other` and all that is below them.
    pub fn recursive_difference(&self, other: &Set<'a>) -> Set<'a> {
        self.combined(other, |a, b| {
            let a = a?;
            match b {
                None => Some(a.clone()),
                Some(b) if b.member => None,
                Some(b) => Some(Node {
                    element: a.element.clone(),
                    member: a.member,
                    children: a.children.recursive_difference(&b.children),
                }),
            }
        })
    }

    /// Only what is at or below `path`.
    pub fn below(&self, path: &[&'a str]) -> Set<'a> {
        let Some((first, rest)) = path.split_first() else { return self.clone() };
        let mut kept = Set::default();
        if let Some(node) = self.node(&Element::field(first)) {
            kept.push(node.element.clone(), rest.is_empty() && node.member, node.children.below(rest));
        }
        kept
    }

    /// Whether the two have a member in common.
    pub fn overlaps(&self, other: &Set<'_>) -> bool {
        let (mut i, mut j) = (0, 0);
        while let (Some(a), Some(b)) = (self.nodes.get(i), other.nodes.get(j)) {
            match a.element.cmp(&b.element) {
                Ordering::Less => i += 1,
                Ordering::Greater => j += 1,
                Ordering::Equal => {
                    if (a.member && b.member) || a.children.overlaps(&b.children) {
                        return true;
                    }
                    (i, j) = (i + 1, j + 1);
                }
            }
        }
        false
    }

    /// Whether every member of `other` is one of this set.
    pub fn covers(&self, other: &Set<'_>) -> bool {
        other.nodes.iter().all(|theirs| match self.node(&theirs.element) {
            None => false,
            Some(own) => (own.member || !theirs.member) && own.children.covers(&theirs.children),
        })
    }

    /// Every member's path, in order.
    pub fn paths(&self) -> Vec<Vec<Element<'a>>> {
        let mut found = Vec::new();
        self.collect(&mut Vec::new(), &mut found);
        found
    }

    fn collect(&self, path: &mut Vec<Element<'a>>, found: &mut Vec<Vec<Element<'a>>>) {
        for node in &self.nodes {
            path.push(node.element.clone());
            if node.member {
                found.push(path.clone());
            }
            node.children.collect(path, found);
            path.pop();
        }
    }

    pub fn into_owned(self) -> Set<'static> {
        let nodes = self.nodes.into_iter().map(|node| Node {
            element: node.element.into_owned(),
            member: node.member,
            children: node.children.into_owned(),
        });
        Set { nodes: nodes.collect() }
    }
}

/// A path as messages show it: `.spec.containers[name="a"].image`.
pub fn shown(path: &[Element<'_>]) -> String {
    path.iter().map(Element::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&'static str]) -> Set<'static> {
        let mut set = Set::default();
        for path in paths {
            let path: Vec<_> = path.split('.').map(Element::field).collect();
            set.insert(&path);
        }
        set
    }

    #[test]
    fn algebra_is_of_members_alone() {
        let (a, b) = (set(&["x", "x.y", "z"]), set(&["x", "q.r"]));
        assert_eq!(a.union(&b), set(&["x", "x.y", "z", "q.r"]));
        assert_eq!(a.intersection(&b), set(&["x"]));
        assert_eq!(a.difference(&b), set(&["x.y", "z"]));
        assert_eq!(a.recursive_difference(&b), set(&["z"]));
        assert!(a.overlaps(&b) && !a.difference(&b).overlaps(&b));
        assert!(a.covers(&set(&["x.y"])) && !a.covers(&b));
    }

    #[test]
    fn only_what_is_below_a_path_is_kept() {
        let all = set(&["spec", "spec.a", "spec.a.b", "spec.c", "metadata.d"]);
        assert_eq!(all.below(&["spec", "a"]), set(&["spec.a", "spec.a.b"]));
    }

    #[test]
    fn paths_are_in_order_and_have_their_members() {
        let all = set(&["b", "a.c", "a"]);
        let paths: Vec<String> = all.paths().iter().map(|path| shown(path)).collect();
        assert_eq!(paths, [".a", ".a.c", ".b"]);
        assert!(all.has(&[Element::field("a"), Element::field("c")]));
        assert!(!all.has(&[Element::field("c")]) && !all.has(&[]));
    }
}
