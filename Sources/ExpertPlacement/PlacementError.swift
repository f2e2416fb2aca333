/// What can be wrong with a placement, or with the request for one.
public enum PlacementError: Error, Equatable, Sendable, CustomStringConvertible {
    case invalidMesh(String)
    case invalidPlan(String)
    case unknownAllocator(String)
    case unsuitableAllocator(String)
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
        case .unknownAllocator(let name):
            "unknown allocator \"\(name)\"; known are \(Allocators.names.joined(separator: ", "))"
        case .unsuitableAllocator(let reason), .tooManyRanks(let reason), .invalidOption(let reason),
            .exceedsMemory(let reason), .programFailed(let reason):
            reason
        }
    }
}
