import TestSupport
import Testing

@Suite(.serialized) struct MPIConformanceTests {
    @Test(arguments: 1...4)
    func conforms(ranks: Int) throws {
        let seed = TestRuns.seed("MPICommunicator, \(ranks) ranks")
        let job = try MPIJob("mpi-conformance", ["communicator", "\(seed)"], ranks: ranks)
        #expect(job.exitStatus == 0, "\(job.output)")
        #expect(job.output.contains("passed: all on \(ranks) ranks"), "\(job.output)")
    }

    /// A low limit stands for blocks that a C int cannot count.
    @Test(arguments: 2...3)
    func sendsLargeBlocksInParts(ranks: Int) throws {
        let seed = TestRuns.seed("MPICommunicator with counts below 1,000, \(ranks) ranks")
        let job = try MPIJob("mpi-conformance", ["communicator", "\(seed)", "1000"], ranks: ranks)
        #expect(job.exitStatus == 0, "\(job.output)")
        #expect(job.output.contains("passed: all on \(ranks) ranks"), "\(job.output)")
    }

    /// The law of the data plane holds over MPI too.
    @Test(arguments: 2...4)
    func placementDoesNotChangeResults(ranks: Int) throws {
        let seed = TestRuns.seed("placement over MPI, \(ranks) ranks")
        let job = try MPIJob("mpi-conformance", ["placement", "\(seed)"], ranks: ranks)
        #expect(job.exitStatus == 0, "\(job.output)")
        #expect(job.output.contains("passed: 88 placements on \(ranks) ranks"), "\(job.output)")
    }

    /// Whatever the routing: experts that choose among all ranks' tokens, and those that drop some.
    @Test(arguments: 2...4)
    func routingDoesNotChangeResults(ranks: Int) throws {
        let seed = TestRuns.seed("routing over MPI, \(ranks) ranks")
        let job = try MPIJob("mpi-conformance", ["routing", "\(seed)"], ranks: ranks)
        #expect(job.exitStatus == 0, "\(job.output)")
        // Thirteen under two plans each, on all meshes.
        let cases = 2 * 13 * (ranks == 4 ? 3 : ranks == 2 ? 2 : 1)
        #expect(job.output.contains("passed: \(cases) ways of routing on \(ranks) ranks"), "\(job.output)")
    }

    /// Nor do experts that move while they train.
    @Test(arguments: 2...4)
    func migrationDoesNotChangeResults(ranks: Int) throws {
        let seed = TestRuns.seed("migration over MPI, \(ranks) ranks")
        let job = try MPIJob("mpi-conformance", ["migration", "\(seed)"], ranks: ranks)
        print(job.output)
        #expect(job.exitStatus == 0, "\(job.output)")
        #expect(job.output.contains("passed: migration on \(ranks) ranks"), "\(job.output)")
    }

    @Test func aRankThatFailsEndsTheJob() throws {
        let job = try MPIJob("mpi-conformance", ["fault"], ranks: 3)
        #expect(job.exitStatus != 0 && !job.hasTimedOut, "\(job.output)")
        #expect(job.output.contains("rank 2: fails as it was told to"), "\(job.output)")
    }
}
