/// The allocators that can be chosen by name (`--allocator`).
public enum Allocators {
    /// What `make(named:)` takes.
    public static let names = ["tensor-parallel", "expert-parallel", "replicated", "dp=D,tp=T"]
    public static let defaultName = "tensor-parallel"

    /// - Throws: `PlacementError.unknownAllocator`.
    public static func make(named name: String) throws(PlacementError) -> any ExpertsAllocator {
        switch name {
        case "tensor-parallel": return StaticAllocator(.tensorParallel)
        case "expert-parallel": return StaticAllocator(.expertParallel)
        case "replicated": return StaticAllocator(.replicated)
        default:
            guard let grid = parseGrid(name) else { throw .unknownAllocator(name) }
            return StaticAllocator(grid)
        }
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
