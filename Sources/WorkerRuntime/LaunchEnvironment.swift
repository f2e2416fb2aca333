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
    public var isLaunched: Bool { isUnderMPIRun || environment["PMIX_RANK"] != nil }

    /// Tasks of the Slurm job step that this process belongs to, or of the whole job when it was not `srun` that started it.
    public var slurmTasks: Int? {
        isUnderMPIRun ? nil : number("SLURM_STEP_NUM_TASKS") ?? number("SLURM_NTASKS")
    }

    /// Ranks that a launcher of another MPI started.
    private var otherRanks: Int? { isLaunched ? nil : number("PMI_SIZE") }

    /// Whether each rank is started by itself, as systemd does, and has to find the others.
    public func isApart(rank: Int?, worldSize: Int?) -> Bool {
        !isLaunched && rank != nil && worldSize ?? 1 > 1
    }

    /// The rank that this process will have, for messages that come before MPI has started.
    public var expectedRank: Int {
        number("OMPI_COMM_WORLD_RANK") ?? number("PMIX_RANK") ?? (slurmTasks == nil ? nil : number("SLURM_PROCID")) ?? 0
    }

    /// Whether this process speaks of what is wrong before MPI has started: the first of each machine, for a configuration file,
    /// programs and libraries are each machine's own.
    public var isFirstOfMachine: Bool {
        (number("OMPI_COMM_WORLD_LOCAL_RANK") ?? (isUnderMPIRun ? nil : number("SLURM_LOCALID")) ?? expectedRank) == 0
    }

    /// - Throws: `WorkerError` when the world that the flags ask for cannot come about.
    public func validate(rank: Int?, worldSize: Int?) throws(WorkerError) {
        if let worldSize, worldSize < 1 { throw .usage("--world-size must be at least 1, not \(worldSize)") }
        if let rank, rank < 0 || rank >= worldSize ?? .max {
            throw .usage("--rank \(rank) is not in a world of \(worldSize.map(String.init) ?? "ranks from 0")")
        }
        if isLaunched || isApart(rank: rank, worldSize: worldSize) { return }
        if let tasks = slurmTasks, tasks > 1, worldSize != 1 {
            throw .usage(
                "Slurm has \(tasks) tasks here, but MPI was not told: each would be a world of its own; start them with "
                    + "srun --mpi=pmix, or with --world-size 1 for one rank alone")
        }
        if let ranks = otherRanks, ranks > 1 {
            throw .usage(
                "a launcher that Open MPI does not know started \(ranks) ranks: each would be a world of its own; use "
                    + "mpirun of Open MPI, or srun --mpi=pmix")
        }
        let needed = max(worldSize ?? 1, (rank ?? 0) + 1)
        if needed > 1 {
            throw .usage(
                "a world of \(worldSize.map(String.init) ?? "several") ranks needs a launcher, and there is none: start it "
                    + "with mpirun -n \(needed) moe-worker …, or srun --mpi=pmix -n \(needed) moe-worker …; or start each "
                    + "rank by itself, with --rank, --world-size and --coordinator")
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
        if isLaunched, let tasks = slurmTasks, tasks > actualSize {
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
