import MessagePassing

/// What the environment says of how this process was started, before MPI is.
public struct LaunchEnvironment: Sendable {
    private let environment: [String: String]

    public init(_ environment: [String: String]) {
        self.environment = environment
    }

    private func number(_ name: String) -> Int? { environment[name].flatMap { Int($0) } }

    /// Whether mpirun started this process (Open MPI sets this for each rank).
    private var isUnderMPIRun: Bool { environment["OMPI_COMM_WORLD_RANK"] != nil }

    /// Whether a process manager that MPI can ask for the world started this process: mpirun, or `srun --mpi=pmix`.
    private var isLaunched: Bool { isUnderMPIRun || environment["PMIX_RANK"] != nil }

    /// Tasks of the Slurm job step that this process belongs to, when `srun` started it.
    private var slurmTasks: Int? { isUnderMPIRun ? nil : number("SLURM_STEP_NUM_TASKS") }

    /// The rank that this process will have, for messages that come before MPI has started.
    public var expectedRank: Int {
        number("OMPI_COMM_WORLD_RANK") ?? number("PMIX_RANK") ?? (slurmTasks == nil ? nil : number("SLURM_PROCID")) ?? 0
    }

    /// - Throws: `WorkerError` when the world that the flags ask for cannot come about.
    public func validate(rank: Int?, worldSize: Int?) throws(WorkerError) {
        if let worldSize, worldSize < 1 { throw .usage("--world-size must be at least 1, not \(worldSize)") }
        if let rank, rank < 0 || rank >= worldSize ?? .max {
            throw .usage("--rank \(rank) is not in a world of \(worldSize.map(String.init) ?? "ranks from 0")")
        }
        if isLaunched { return }
        if let tasks = slurmTasks, tasks > 1 {
            throw .usage(
                "srun started \(tasks) tasks, but without telling MPI: each would be a world of its own; "
                    + "use srun --mpi=pmix")
        }
        let needed = max(worldSize ?? 1, (rank ?? 0) + 1)
        if needed > 1 {
            throw .usage(
                "a world of \(worldSize.map(String.init) ?? "several") ranks needs a launcher, and there is none: start it "
                    + "with mpirun -n \(needed) moe-worker …, or srun --mpi=pmix -n \(needed) moe-worker …")
        }
    }

    /// Checks the world that MPI made against the flags and against Slurm.
    public func validate(_ communicator: any Communicator, rank: Int?, worldSize: Int?) throws(WorkerError) {
        let (actualRank, actualSize) = (communicator.rank, communicator.size)
        if let worldSize, worldSize != actualSize {
            throw .usage(
                "--world-size is \(worldSize), but the launcher started \(actualSize) rank\(actualSize == 1 ? "" : "s"); "
                    + "start \(worldSize) or leave --world-size out")
        }
        if let tasks = slurmTasks, tasks > actualSize {
            throw .usage(
                "Slurm started \(tasks) tasks, but MPI's world has \(actualSize) rank\(actualSize == 1 ? "" : "s"); "
                    + "use srun --mpi=pmix")
        }
        if let rank, rank != actualRank {
            throw .usage(
                "--rank is \(rank), but the launcher made this process rank \(actualRank); leave --rank out")
        }
    }
}
