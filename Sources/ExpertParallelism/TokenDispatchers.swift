/// The dispatchers that can be chosen by name (`--dispatcher`).
public enum TokenDispatchers {
    public static let names = ["random", "local-first", "least-loaded", "weighted"]
    public static let defaultName = "random"

    /// - Throws: `ParallelizationError.unknownDispatcher`.
    public static func make(named name: String, seed: UInt64) throws(ParallelizationError) -> any TokenDispatcher {
        switch name {
        case "random": RandomDispatcher(seed: seed)
        case "local-first": LocalFirstDispatcher(seed: seed)
        case "least-loaded": LeastLoadedDispatcher(seed: seed)
        case "weighted": WeightedDispatcher(seed: seed)
        default: throw .unknownDispatcher(name)
        }
    }
}
