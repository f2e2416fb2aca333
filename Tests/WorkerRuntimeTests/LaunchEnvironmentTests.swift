import MessagePassing
import Testing
import WorkerRuntime

@Suite struct LaunchEnvironmentTests {
    private func refusal(_ environment: [String: String], rank: Int? = nil, worldSize: Int? = nil) -> String? {
        do {
            try LaunchEnvironment(environment).validate(rank: rank, worldSize: worldSize)
            return nil
        } catch {
            #expect(error.code == .usage)
            return error.description
        }
    }

    @Test func aloneIsAWorldOfOne() {
        #expect(refusal([:]) == nil)
        #expect(refusal([:], rank: 0, worldSize: 1) == nil)
        #expect(refusal([:], worldSize: 2)?.contains("mpirun -n 2 moe-worker") == true)
        #expect(refusal([:], rank: 1)?.contains("needs a launcher") == true)
        #expect(refusal([:], worldSize: 0)?.contains("--world-size must be at least 1") == true)
        #expect(refusal([:], rank: 2, worldSize: 2)?.contains("--rank 2 is not in a world of 2") == true)
        #expect(refusal([:], rank: -1)?.contains("--rank -1 is not in a world") == true)
    }

    @Test func launchersAreKnown() {
        #expect(refusal(["OMPI_COMM_WORLD_RANK": "1"], worldSize: 2) == nil)
        #expect(refusal(["PMIX_RANK": "1"], worldSize: 2) == nil)
        #expect(LaunchEnvironment(["OMPI_COMM_WORLD_RANK": "3", "PMIX_RANK": "4"]).expectedRank == 3)
        #expect(LaunchEnvironment(["PMIX_RANK": "4"]).expectedRank == 4)
        #expect(LaunchEnvironment([:]).expectedRank == 0)
    }

    @Test func oneRankOfEachMachineSpeaks() {
        func speaks(_ environment: [String: String]) -> Bool { LaunchEnvironment(environment).isFirstOfMachine }
        #expect(speaks([:]))
        #expect(speaks(["OMPI_COMM_WORLD_RANK": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "0"]))
        #expect(!speaks(["OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "SLURM_LOCALID": "0"]))
        let task = ["SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "4", "PMIX_RANK": "4"]
        #expect(speaks(task.merging(["SLURM_LOCALID": "0"]) { $1 }))
        #expect(!speaks(task.merging(["SLURM_LOCALID": "3"]) { $1 }))
        // Launchers that do not tell.
        #expect(speaks(["PMIX_RANK": "0"]) && !speaks(["PMIX_RANK": "1"]))
    }

    @Test func eachRankByItself() {
        #expect(refusal([:], rank: 1, worldSize: 2) == nil)
        #expect(LaunchEnvironment([:]).isApart(rank: 1, worldSize: 2))
        #expect(refusal(["SLURM_NTASKS": "4"], rank: 1, worldSize: 2) == nil)
        // One rank needs no other, and which rank this is has to be said.
        #expect(!LaunchEnvironment([:]).isApart(rank: 0, worldSize: 1))
        #expect(!LaunchEnvironment([:]).isApart(rank: 0, worldSize: nil))
        #expect(!LaunchEnvironment([:]).isApart(rank: nil, worldSize: 2))
        for variable in ["OMPI_COMM_WORLD_RANK", "PMIX_RANK"] {
            #expect(!LaunchEnvironment([variable: "0"]).isApart(rank: 0, worldSize: 2))
        }
    }

    @Test func slurmWithoutPMIxIsRefused() {
        let environment = ["SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"]
        #expect(refusal(environment)?.contains("srun --mpi=pmix") == true)
        #expect(LaunchEnvironment(environment).expectedRank == 1)
        // A batch script that calls moe-worker itself.
        let batch = ["SLURM_NTASKS": "4"]
        #expect(refusal(batch)?.contains("srun --mpi=pmix") == true)
        #expect(refusal(batch, worldSize: 1) == nil)
        #expect(refusal(["SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"]) == nil)
        #expect(refusal(["PMI_SIZE": "2"])?.contains("does not know started 2 ranks") == true)
        // A batch script that calls mpirun: Slurm's numbers are those of another step.
        #expect(refusal(environment.merging(["OMPI_COMM_WORLD_RANK": "0"]) { first, _ in first }) == nil)
    }

    @Test func worldMustBeAsAskedFor() throws {
        let launch = LaunchEnvironment(["PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"])
        let world = ThreadCommunicator()
        #expect(throws: WorkerError.self) { try launch.validate(world, rank: nil, worldSize: nil) }
        let alone = LaunchEnvironment([:])
        try alone.validate(world, rank: 0, worldSize: 1)
        #expect(throws: WorkerError.self) { try alone.validate(world, rank: 1, worldSize: nil) }
        #expect(throws: WorkerError.self) { try alone.validate(world, rank: nil, worldSize: 2) }
    }
}
