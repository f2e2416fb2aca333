import ControlProtocol

/// How a rank that no launcher started finds its world.
public struct RendezvousOptions: Sendable {
    public var rank: Int
    public var worldSize: Int
    /// The ranks of one world name the same; nil: none.
    public var run: String?
    public var coordinator: String
    public var keyFile: String?
    /// How long the world may take to come about.
    public var timeoutSeconds = 300.0
    /// After which a silent rank is dead; rank 0's holds for all.
    public var silenceSeconds = Limits.standard.rankSilence / .seconds(1)
    /// The name or address of this machine for other ranks, if this is rank 0; nil: that with which it reaches the coordinator.
    public var host: String?

    public init(rank: Int, worldSize: Int, run: String?, coordinator: String, keyFile: String?) {
        self.rank = rank
        self.worldSize = worldSize
        self.run = run
        self.coordinator = coordinator
        self.keyFile = keyFile
    }

    /// - Throws: `WorkerError` that names the flag and what it takes.
    public func validate() throws(WorkerError) {
        for (flag, value, range) in [
            ("rendezvous-timeout", timeoutSeconds, 0...86_400.0), ("rank-timeout", silenceSeconds, 1...3_600),
        ] {
            guard range.contains(value) else {
                throw .usage("--\(flag) must be between \(range.lowerBound) and \(range.upperBound), not \(value)")
            }
        }
        if let run, !RunName.isValid(run) { throw .usage("--run \"\(run)\": \(RunName.rule)") }
        guard worldSize <= Limits.standard.worldSize else {
            throw .usage("--world-size must be at most \(Limits.standard.worldSize), not \(worldSize)")
        }
        _ = try access()
    }

    func access() throws(WorkerError) -> CoordinatorAccess { try CoordinatorAccess(coordinator, keyFile: keyFile) }
}
