/// What can be wrong with a placement, or with the request for one.
public enum PlacementError: Error, Equatable, Sendable, CustomStringConvertible {
    case invalidMesh(String)
    case invalidPlan(String)
    case unknownAllocator(String)
    case unsuitableAllocator(String)
    /// The coordinator's configuration file has no program of this name; it has these.
    case unknownProgram(String, known: [String])
    /// A plan would list more ranks than one may, `PlacementPlan.rankLimit`.
    case tooManyRanks(String)
    case invalidOption(String)
    case exceedsMemory(String)
    /// A program that was to place experts gave no plan.
    case programFailed(String)

    public var description: String {
        switch self {
        case .invalidMesh(let reason): "invalid device mesh: \(reason)"
        case .invalidPlan(let reason): "invalid placement plan: \(reason)"
        case .unknownAllocator(let name) where name.hasPrefix(Allocators.programPrefix):
            "allocator \(name) is a program: only a coordinator whose configuration file names it asks one, and moe-ctl simulate "
                + "with that file as --config; name an allocator"
        case .unknownAllocator(let name):
            "unknown allocator \"\(name)\"; known are \(Allocators.names.joined(separator: ", ")), and \(Allocators.programPrefix)ALIAS for "
                + "a program that the coordinator's configuration file names"
        case .unknownProgram(let name, let known):
            "allocator \(name) is not in the coordinator's configuration file"
                + (known.isEmpty ? ", which names no program" : "; known are \(known.sorted().joined(separator: ", "))")
        case .unsuitableAllocator(let reason), .tooManyRanks(let reason), .invalidOption(let reason),
            .exceedsMemory(let reason), .programFailed(let reason):
            reason
        }
    }
}
