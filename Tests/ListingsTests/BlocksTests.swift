import Listings
import Testing

@Suite struct BlocksTests {
    @Test func curves() {
        #expect(Blocks.curve([1, 2, 3, 4, 5, 6, 7, 8], columns: 10) == "▁▂▃▄▅▆▇█")
        // Means of neighbours; what is not known is blank.
        #expect(Blocks.curve([0, 2, 6, 8, nil, nil, nil, 7], columns: 4) == "▁█ █")
        #expect(Blocks.curve([3, 3], columns: 5) == "▅▅")
        #expect(Blocks.curve([0, 1], columns: 5, range: 0...2) == "▁▅")
        #expect(Blocks.curve([.nan, .infinity, 1, 2], columns: 5) == "  ▁█")
        #expect(Blocks.curve([], columns: 5).isEmpty && Blocks.curve([nil], columns: 5).isEmpty)
        #expect(Blocks.curve([1], columns: 0).isEmpty)
        #expect(Blocks.curve([1e308, 1e308, -1e308, -1e308], columns: 2).count == 2)
    }

    @Test func bars() {
        #expect(Blocks.bar(0.5, columns: 4) == "██  ")
        #expect(Blocks.bar(9 / 32, columns: 4) == "█▏  ")
        #expect(Blocks.bar(1, columns: 2) == "██" && Blocks.bar(7, columns: 2) == "██")
        #expect(Blocks.bar(0, columns: 2) == "  " && Blocks.bar(.nan, columns: 2) == "  ")
        #expect(Blocks.bar(-1, columns: 2) == "  " && Blocks.bar(1, columns: 0).isEmpty)
    }

    @Test func shades() {
        #expect(String([0, 0.39, 0.41, 1, 1.59, 1.61, 1e300, -1, .nan].map(Blocks.shade)) == "  ░▒▓██  ")
    }
}
