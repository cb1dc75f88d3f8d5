// Fixed ranges that a checkpoint brings along, in the place of calibration's.
#ifndef OCTOBERT_CONVERTER_IMPORTED_RECIPE_H_
#define OCTOBERT_CONVERTER_IMPORTED_RECIPE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "converter/checkpoint.h"
#include "converter/plan.h"
#include "converter/recipe.h"

namespace octobert::converter {

// Static wherever the checkpoint has what that needs, dynamic elsewhere: a product whose input has no range; qkv if its
// matrices have different ones and are not whole panels of outputs each (Linear::input_parts); attention without a
// range for each of the three, or with zero points. warnings: which products these are, and why. The classifier stays
// float.
Plan imported_plan(const Checkpoint& checkpoint, std::vector<std::string>& warnings);

// Whether imported_plan would make any product static.
bool has_imported_ranges(const Checkpoint& checkpoint);

// For the products of layer `index` that imported_plan makes static; of the others nothing. Throws Error(kFormat)
// naming the tensor for scales of a wrong shape, or not finite and positive.
LayerRecipe imported_recipe(const Checkpoint& checkpoint, uint32_t index);

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_IMPORTED_RECIPE_H_
