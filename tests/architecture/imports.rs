//! The imports between files: read from the `use` items and qualified paths of each file, also in macros.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// The files of a library, without test modules.
pub(crate) struct Tree {
    files: Vec<File>,
    by_module: BTreeMap<Vec<String>, usize>,
    imports: Vec<Resolved>,
}

/// An import of one file by another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    line: usize,
    /// The path as written in the file.
    written: &'a str,
}

impl fmt::Display for Edge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.from, self.line, self.written)
    }
}

/// One file.
struct File {
    name: String,
    module: Vec<String>,
    /// Whether it has only modules and re-exports: imports from it count as imports from its children.
    facade: bool,
    /// The names that its `use` items bring into scope, by their local name.
    names: BTreeMap<String, Vec<String>>,
    /// The modules from which it imports everything.
    globs: Vec<Vec<String>>,
    /// The names that it defines.
    items: BTreeSet<String>,
    paths: Vec<Path>,
}

/// A path in a file that leads to a module of the crate.
struct Path {
    target: Vec<String>,
    written: String,
    line: usize,
}

struct Resolved {
    from: usize,
    to: usize,
    line: usize,
    written: String,
}

impl Tree {
    /// Parses files; the names have the form `src/server/transport.rs`.
    pub(crate) fn parse(files: impl Iterator<Item = (String, String)>) -> Self {
        let mut parsed: Vec<(String, syn::File)> = files
            .map(|(name, text)| {
                let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
                (name, file)
            })
            .collect();
        parsed.sort_by(|(one, _), (other, _)| one.cmp(other));
        let tests: Vec<Vec<String>> =
            parsed.iter().flat_map(|(name, file)| test_modules(name, file)).collect();
        let of_tests = |module: &[String]| tests.iter().any(|test| module.starts_with(test));
        let files: Vec<File> = parsed
            .into_iter()
            .filter(|(name, _)| !of_tests(&module(name)))
            .map(|(name, file)| File::new(name, &file))
            .collect();
        let by_module = files.iter().enumerate().map(|(at, file)| (file.module.clone(), at)).collect();
        let mut tree = Self { files, by_module, imports: Vec::new() };
        tree.imports = tree.resolved();
        tree
    }

    /// The imports of each file, without repetition, each at its first position.
    pub(crate) fn edges(&self) -> impl Iterator<Item = Edge<'_>> {
        self.imports.iter().map(|import| Edge {
            from: &self.files[import.from].name,
            to: &self.files[import.to].name,
            line: import.line,
            written: &import.written,
        })
    }

    fn resolved(&self) -> Vec<Resolved> {
        let mut first = BTreeMap::new();
        for (from, file) in self.files.iter().enumerate() {
            if file.facade {
                continue;
            }
            for path in &file.paths {
                let to = self.file_of(&path.target, 0);
                if to != from {
                    let import = first.entry((from, to)).or_insert(path);
                    if path.line < import.line {
                        *import = path;
                    }
                }
            }
        }
        let resolved = |((from, to), path): ((usize, usize), &Path)| Resolved {
            from,
            to,
            line: path.line,
            written: path.written.clone(),
        };
        first.into_iter().map(resolved).collect()
    }

    /// The file that defines the target of a path, through re-exports.
    fn file_of(&self, path: &[String], depth: usize) -> usize {
        let prefixes = (0..=path.len()).rev().map(|length| path.split_at(length));
        let found = prefixes.filter_map(|(module, rest)| Some((*self.by_module.get(module)?, rest))).next();
        let (at, rest) = found.expect("the root of the crate is a file");
        let file = &self.files[at];
        let Some((name, deeper)) = rest.split_first() else { return at };
        if depth > 16 || file.items.contains(name) {
            return at;
        }
        if let Some(elsewhere) = file.names.get(name) {
            return self.file_of(&[elsewhere, deeper].concat(), depth + 1);
        }
        let reexports = file.globs.iter().filter_map(|module| {
            let other = self.file_of(module, depth + 1);
            self.files[other].items.contains(name).then_some(other)
        });
        reexports.into_iter().next().unwrap_or(at)
    }
}

impl File {
    fn new(name: String, file: &syn::File) -> Self {
        let module = module(&name);
        let mut reader = Reader { scopes: Vec::new(), paths: Vec::new() };
        let scope = Scope::new(module.clone(), &file.items);
        let (names, globs) = (scope.names.clone(), scope.globs.clone());
        reader.scopes.push(scope);
        for item in &file.items {
            reader.visit_item(item);
        }
        let declares = |item: &syn::Item| match item {
            syn::Item::Mod(module) => module.content.is_none(),
            syn::Item::Use(item) => !matches!(item.vis, syn::Visibility::Inherited),
            _ => false,
        };
        let shipped = || file.items.iter().filter(|item| !is_test(item));
        Self {
            name,
            module,
            facade: shipped().all(declares),
            names,
            globs,
            items: shipped().filter_map(defined).collect(),
            paths: reader.paths,
        }
    }
}

/// Reads the paths of a file.
struct Reader {
    /// The current module and its enclosing modules in the same file.
    scopes: Vec<Scope>,
    paths: Vec<Path>,
}

/// The meaning of names in one module.
struct Scope {
    module: Vec<String>,
    children: BTreeSet<String>,
    names: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

impl Scope {
    fn new(module: Vec<String>, items: &[syn::Item]) -> Self {
        let children = items.iter().filter_map(|item| match item {
            syn::Item::Mod(child) => Some(child.ident.to_string()),
            _ => None,
        });
        let mut scope =
            Self { module, children: children.collect(), names: BTreeMap::new(), globs: Vec::new() };
        let mut uses = Uses(Vec::new());
        for item in items {
            uses.visit_item(item);
        }
        // A path may start with a name that a later item brings into scope.
        for _ in 0..2 {
            for used in &uses.0 {
                let Some(target) = scope.target(&used.path) else { continue };
                match &used.name {
                    Some(name) if scope.children.contains(name) => {}
                    Some(name) => drop(scope.names.insert(name.clone(), target)),
                    None => scope.globs.push(target),
                }
            }
        }
        scope
    }

    /// The target of a path within the crate; `None` if it is outside the crate.
    fn target(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" | "super" => {
                let up = path.iter().take_while(|segment| *segment == "super").count();
                let rest = if first == "self" { rest } else { &path[up..] };
                let above = self.module.len().checked_sub(up)?;
                Some([&self.module[..above], rest].concat())
            }
            _ if self.children.contains(first) => Some([self.module.as_slice(), path].concat()),
            _ => Some([self.names.get(first)?.as_slice(), rest].concat()),
        }
    }
}

impl Reader {
    fn add(&mut self, path: &[String], line: usize) {
        let Some(target) = self.scopes.last().and_then(|scope| scope.target(path)) else { return };
        self.paths.push(Path { target, written: path.join("::"), line });
    }

    /// Adds paths in the arguments of a macro, which are only tokens.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end_of_path(&mut path, line);
                    }
                    if path.is_empty() {
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && colons < 2 => colons += 1,
                other => {
                    self.end_of_path(&mut path, line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
        }
        self.end_of_path(&mut path, line);
    }

    fn end_of_path(&mut self, path: &mut Vec<String>, line: usize) {
        if path.len() > 1 {
            self.add(path, line);
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let (Some((_, items)), Some(around)) = (&item.content, self.scopes.last()) else { return };
        let inner = [around.module.as_slice(), &[item.ident.to_string()]].concat();
        self.scopes.push(Scope::new(inner, items));
        for item in items {
            self.visit_item(item);
        }
        self.scopes.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for used in flattened(item) {
            self.add(&used.path, used.line);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // A single name is either defined here or imported by a `use` item, which is read separately.
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let segments: Vec<String> =
                path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.add(&segments, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.add_tokens(call.tokens.clone());
    }

    /// `pub(in crate::retool)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

/// One name of a `use` item.
struct Used {
    path: Vec<String>,
    /// The local name; `None` for `*`.
    name: Option<String>,
    line: usize,
}

/// Collects the `use` items of a module, including those in functions.
struct Uses(Vec<Used>);

impl<'ast> Visit<'ast> for Uses {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.0.extend(flattened(item));
    }
}

fn flattened(item: &syn::ItemUse) -> Vec<Used> {
    let mut flat = Vec::new();
    if item.leading_colon.is_none() {
        flatten(&item.tree, &[], &mut flat);
    }
    flat
}

fn flatten(tree: &syn::UseTree, prefix: &[String], flat: &mut Vec<Used>) {
    let line = tree.span().start().line;
    let mut add = |path: Vec<String>, name| flat.push(Used { path, name, line });
    let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
    match tree {
        syn::UseTree::Path(path) => flatten(&path.tree, &with(&path.ident), flat),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, flat)),
        syn::UseTree::Glob(_) => add(prefix.to_vec(), None),
        syn::UseTree::Name(name) if name.ident == "self" => add(prefix.to_vec(), prefix.last().cloned()),
        syn::UseTree::Name(name) => add(with(&name.ident), Some(name.ident.to_string())),
        syn::UseTree::Rename(rename) => {
            let path = if rename.ident == "self" { prefix.to_vec() } else { with(&rename.ident) };
            add(path, Some(rename.rename.to_string()));
        }
    }
}

/// The path of a file's module in the crate: `server::transport` for `src/server/transport.rs`.
pub(crate) fn module(file: &str) -> Vec<String> {
    let path = file.strip_prefix("src/").unwrap_or(file);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    module
}

/// The modules in their own files that a file declares for tests only.
fn test_modules(name: &str, file: &syn::File) -> Vec<Vec<String>> {
    let declared = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(child) if child.content.is_none() && is_test(item) => Some(child.ident.to_string()),
        _ => None,
    });
    declared.map(|child| [module(name), vec![child]].concat()).collect()
}

/// Whether an item is compiled only for tests.
fn is_test(item: &syn::Item) -> bool {
    let for_tests = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        _ => false,
    };
    attributes(item).iter().any(for_tests)
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name that an item defines; `None` for modules in their own files.
fn defined(item: &syn::Item) -> Option<String> {
    let name = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Macro(item) => item.ident.as_ref()?,
        syn::Item::Mod(item) if item.content.is_some() => &item.ident,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
