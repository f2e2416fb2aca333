/// The allocators that can be chosen by name (`--allocator`), with options behind a colon:
/// `load-balanced:window=5,slots=4`.
public enum Allocators {
    /// What `make(named:options:)` takes.
    public static let names = [
        "tensor-parallel", "expert-parallel", "replicated", "dp=D,tp=T", "load-balanced", "eplb", "exact",
    ]
    /// Names a program that the coordinator asks, by the alias behind it. `make` knows none.
    public static let programPrefix = "exec:"
    public static let defaultName = "tensor-parallel"

    /// - Parameters:
    ///   - options: further options; those in the name go first.
    ///   - isCancelled: asked by searches that may take long; once it is true they end with an error.
    /// - Throws: `PlacementError.unknownAllocator`, or `.invalidOption` with the known ones named.
    public static func make(
        named name: String, options: AllocatorOptions = AllocatorOptions(),
        isCancelled: @escaping @Sendable () -> Bool = { false }
    ) throws(PlacementError) -> any ExpertsAllocator {
        var options = options
        var base = name
        if let colon = name.firstIndex(of: ":") {
            base = String(name[..<colon])
            guard names.contains(base) || parseGrid(base) != nil else { throw .unknownAllocator(name) }
            let named = try AllocatorOptions(parsing: name[name.index(after: colon)...], of: base)
            options.values.merge(named.values) { $1 }
        }
        switch base {
        case "tensor-parallel": return try withoutOptions(.tensorParallel, options, base)
        case "expert-parallel": return try withoutOptions(.expertParallel, options, base)
        case "replicated": return try withoutOptions(.replicated, options, base)
        case "load-balanced":
            try options.checkNames(known: LoadBalancedAllocator.Options.names, allocator: base)
            return LoadBalancedAllocator(try LoadBalancedAllocator.Options(options))
        case "eplb":
            try options.checkNames(known: ReplicaBalancerAllocator.Options.names, allocator: base)
            return LayerwiseAllocator(ReplicaBalancerAllocator(try ReplicaBalancerAllocator.Options(options)))
        case "exact":
            try options.checkNames(known: ExactAllocator.optionNames, allocator: base)
            return LayerwiseAllocator(try ExactAllocator(options, isCancelled: isCancelled))
        default:
            guard let grid = parseGrid(base) else { throw .unknownAllocator(name) }
            return try withoutOptions(grid, options, base)
        }
    }

    /// The allocator that makes a run's first plan: that of the name, but `load-balanced` for `exact`. Its search can take
    /// long, while everybody waits, and nothing is measured yet. For more ranks than it takes it refuses at once.
    /// - Throws: as `make` does.
    package static func makeFirst(named name: String, worldSize: Int) throws(PlacementError) -> any ExpertsAllocator {
        let allocator = try make(named: name)
        guard let exact = allocator as? LayerwiseAllocator<ExactAllocator>, worldSize <= ExactReplicaPlanner.rankLimit
        else { return allocator }
        var options = LoadBalancedAllocator.Options()
        options.slots = exact.policy.slots
        return LoadBalancedAllocator(options)
    }

    private static func withoutOptions(
        _ rule: StaticAllocator.Rule, _ options: AllocatorOptions, _ name: String
    ) throws(PlacementError) -> StaticAllocator {
        try options.checkNames(known: [], allocator: name)
        return StaticAllocator(rule)
    }

    /// Reads `dp=D,tp=T` with D and T from 1.
    private static func parseGrid(_ name: String) -> StaticAllocator.Rule? {
        let parts = name.split(separator: ",", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].hasPrefix("dp="), parts[1].hasPrefix("tp="),
            let dataParallel = Int(parts[0].dropFirst(3)), dataParallel > 0,
            let tensorParallel = Int(parts[1].dropFirst(3)), tensorParallel > 0
        else { return nil }
        return .grid(dataParallel: dataParallel, tensorParallel: tensorParallel)
    }
}
