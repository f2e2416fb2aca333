import Tensors

/// A part of a model with named parameters and named parts. Paths join the names with dots, as in PyTorch:
/// `model.layers.0.block_sparse_moe.gate.weight`.
///
/// A module's forward and backward passes have the types that suit it, so they are no part of this protocol. What
/// backward needs, forward keeps in the module: each forward pass with gradients is followed by its backward pass.
public protocol Module: AnyObject {
    /// The parameters that this module holds itself, in a fixed order.
    var parameters: [(name: String, parameter: Parameter)] { get }
    /// What this module holds itself that checkpoints have and no optimizer changes, in a fixed order.
    var buffers: [(name: String, parameter: Parameter)] { get }
    /// The parts of this module, in a fixed order.
    var children: [(name: String, module: any Module)] { get }
    /// Parts in the order in which forward comes to them; backward has done with them in the opposite order.
    var stages: [[any Module]] { get }

    /// Puts another module in the place of the part called `name`.
    /// - Throws: `ModuleError` when there is no such part, or it cannot be of that type.
    func replaceChild(_ name: String, with module: any Module) throws

    /// Sets the weights of this module, not of its parts, from `source`; `path` is this module's own.
    func loadOwnWeights(from source: any WeightSource, path: String) throws
    /// Hands the weights of this module, not of its parts, to `sink`, whole and in the shapes of `ownWeights`.
    func storeOwnWeights(to sink: any WeightSink, path: String) throws
    /// Names (below this module) and shapes of what `storeOwnWeights` hands over, in that order.
    var ownWeights: [(name: String, shape: [Int])] { get }
}

/// Where initial weights come from: a checkpoint, or a seeded generator.
public protocol WeightSource {
    /// Writes the block `rows` × `columns` of the tensor `name`, which has `shape`, to `destination` of the block's shape, whose rows need not
    /// lie without gaps.
    func load(_ name: String, shape: [Int], rows: Range<Int>, columns: Range<Int>, into destination: Tensor) throws
}

/// Where weights go: a checkpoint.
public protocol WeightSink {
    /// Takes the whole tensor `name`, whose entries lie without gaps.
    func store(_ name: String, shape: [Int], _ values: Tensor) throws
}

extension Module {
    public var parameters: [(name: String, parameter: Parameter)] { [] }
    public var buffers: [(name: String, parameter: Parameter)] { [] }
    public var children: [(name: String, module: any Module)] { [] }
    public var stages: [[any Module]] { [[self]] }

    public func replaceChild(_ name: String, with module: any Module) throws {
        throw ModuleError.cannotReplace(child: name, in: "\(type(of: self))", with: "\(type(of: module))")
    }

    public var ownWeights: [(name: String, shape: [Int])] {
        (parameters + buffers).map { ($0.name, $0.parameter.shape) }
    }

    public func loadOwnWeights(from source: any WeightSource, path: String) throws {
        for (name, parameter) in parameters + buffers {
            try source.load(
                join(path, name), shape: parameter.shape, rows: 0..<parameter.rows, columns: 0..<parameter.columns,
                into: parameter.value)
        }
    }

    public func storeOwnWeights(to sink: any WeightSink, path: String) throws {
        for (name, parameter) in parameters + buffers {
            try sink.store(join(path, name), shape: parameter.shape, parameter.value)
        }
    }

    /// This module and all below it with their paths, parents first.
    public func namedModules(path: String = "") -> [(path: String, module: any Module)] {
        [(path, self)] + children.flatMap { $0.module.namedModules(path: join(path, $0.name)) }
    }

    /// All parameters with their paths.
    public func namedParameters(path: String = "") -> [(name: String, parameter: Parameter)] {
        namedModules(path: path).flatMap { path, module in
            module.parameters.map { (join(path, $0.name), $0.parameter) }
        }
    }

    /// Paths and shapes of all weights, as a checkpoint holds them.
    public func namedWeights() -> [(name: String, shape: [Int])] {
        namedModules().flatMap { path, module in module.ownWeights.map { (join(path, $0.name), $0.shape) } }
    }

    /// Sets all weights.
    public func loadWeights(from source: any WeightSource) throws {
        for (path, module) in namedModules() { try module.loadOwnWeights(from: source, path: path) }
    }

    /// Hands all weights to `sink`.
    public func storeWeights(to sink: any WeightSink) throws {
        for (path, module) in namedModules() { try module.storeOwnWeights(to: sink, path: path) }
    }
}

/// Joins two parts of a module path; the root's path is empty.
public func join(_ path: String, _ name: String) -> String {
    path.isEmpty ? name : "\(path).\(name)"
}

/// What can be wrong with a change to a module tree.
public enum ModuleError: Error, CustomStringConvertible {
    case cannotReplace(child: String, in: String, with: String)
    case missingWeight(name: String, shape: [Int])

    public var description: String {
        switch self {
        case .cannotReplace(let child, let parent, let module):
            "\(parent) has no part \"\(child)\" that a \(module) could replace"
        case .missingWeight(let name, let shape):
            "there is no weight \"\(name)\" of the shape \(shape)"
        }
    }
}
