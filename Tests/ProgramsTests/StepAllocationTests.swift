import Foundation
import Testing

/// When a routing has come up before, a step takes nothing from the system: tensors have their memory from the pool, which does not
/// grow, and lists and the libraries' scratch have it from malloc, whose heap does not grow. `step-allocations` counts.
@Suite(.serialized) struct StepAllocationTests {
    /// Of the step of a rank that took most.
    struct Taken: Decodable {
        var rank: Int
        var routingRows: Int
        var poolBytes: Int
        var mallocCalls: Int
        var mallocBytes: Int
        var largestMallocBytes: Int
        var heapBytes: Int
    }

    @Test(arguments: [1, 2], [(64, 8), (256, 8), (64, 32)])
    func stepsTakeNothingFromTheSystem(ranks: Int, extents: (hiddenSize: Int, sequences: Int)) throws {
        for taken in try run(ranks: ranks, hiddenSize: extents.hiddenSize, sequences: extents.sequences, "auto") {
            #expect(taken.poolBytes == 0, "\(taken)")
            #expect(taken.heapBytes == 0, "\(taken)")
            // Of any extents: objects, lists and scratch are by layer, expert and product, none by row.
            #expect(taken.mallocCalls > 0 && taken.mallocCalls < 1_500, "\(taken)")
        }
    }

    /// What a step has of malloc are lists with an entry for each (token, expert) pair, and none of them has rows. oneDNN would have its
    /// scratch of malloc, and MPI its buffers.
    @Test func listsAreOfPairsAlone() throws {
        var bytes = [Int]()
        for hiddenSize in [64, 256] {
            let taken = try #require(run(ranks: 1, hiddenSize: hiddenSize, sequences: 32, "openblas").first)
            #expect(taken.largestMallocBytes <= 8 * taken.routingRows + 64, "\(taken)")
            // Two layers.
            #expect(taken.mallocBytes < 100_000 + 2 * 64 * taken.routingRows, "\(taken)")
            bytes.append(taken.mallocBytes)
        }
        #expect(abs(bytes[1] - bytes[0]) < bytes[0] / 10, "\(bytes)")
    }

    private func run(ranks: Int, hiddenSize: Int, sequences: Int, _ library: String) throws -> [Taken] {
        let program = try RunningProgram(
            "step-allocations", ["\(hiddenSize)", "\(sequences)", library], ranks: ranks, timeLimitSeconds: 120,
            variables: [
                // Open MPI makes fragments of shared memory, and buffers of what nobody waits for yet, when a rank is ahead of the others as
                // never before, in whichever step that is. Here it makes all of them at the start, in a segment that has room for them:
                // without, it would go by TCP.
                "OMPI_MCA_btl": "self,vader", "OMPI_MCA_btl_vader_free_list_num": "512",
                "OMPI_MCA_btl_vader_segment_size": "67108864", "OMPI_MCA_pml_ob1_free_list_num": "256",
                "OMPI_MCA_pml_ob1_unexpected_limit": "4096",
                // A heap that gives back what is free at its top grows again, in whichever step that is. Here it keeps the most it
                // ever had, so that it grows by what was never free.
                "MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000",
            ])
        let status = program.waitForEnd()
        try #require(status == 0, "\(program.text)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let lines = program.text.split(separator: "\n").filter { $0.hasPrefix("{") }
        let taken = try lines.map { try decoder.decode(Taken.self, from: Data($0.utf8)) }
        try #require(taken.map(\.rank).sorted() == Array(0..<ranks), "\(program.text)")
        return taken
    }
}
